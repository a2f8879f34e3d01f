#include "src/watch/heartbeat_links.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

using namespace sluice;
namespace asio = boost::asio;

namespace {

const std::string bridge = "127.0.0.2";

/// Ranks of one process, served by one event loop.
struct Job {
    /// `elsewhere`: the last rank is on another machine, reached by the addresses it tells. All of
    /// 127.0.0.0/8 lead here; one is the same on both, as a bridge's.
    explicit Job(int num_ranks, bool elsewhere = false)
    {
        for (int rank = 0; rank < num_ranks; ++rank) {
            links.push_back(std::make_unique<HeartbeatLinks>(io));
            addresses.push_back(address_of_this_rank(links.back()->listen()));
        }
        if (elsewhere) {
            for (RankAddress& address : addresses)
                address.addresses = {bridge, "127.0.0.3"};
            addresses.back().addresses = {bridge, "127.0.0.4"};
            addresses.back().machine = "another";
        }
        const auto centres = choose_centres(addresses);
        heard.resize(links.size());
        closed.resize(links.size());
        for (int rank = 0; rank < num_ranks; ++rank) {
            auto& from = heard[static_cast<std::size_t>(rank)];
            auto& gone = closed[static_cast<std::size_t>(rank)];
            const auto not_reached = links[static_cast<std::size_t>(rank)]->connect(
                addresses, centres, rank,
                {.heard = [&from](const Heartbeat& beat) { from.push_back(beat.from); },
                 .closed = [&gone](int other) { gone.push_back(other); }});
            BOOST_TEST(not_reached.empty());
        }
    }
    /// Until `done` holds, or for 5 s.
    template <typename Done>
    void run_until(Done done)
    {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        while (!done() && io.run_one_until(until) > 0) {
        }
    }

    asio::io_context io;
    std::vector<std::unique_ptr<HeartbeatLinks>> links;
    std::vector<RankAddress> addresses;
    std::vector<std::vector<int>> heard, closed; ///< [rank]: which others
};

} // namespace

BOOST_AUTO_TEST_SUITE(heartbeat_links)

BOOST_AUTO_TEST_CASE(every_rank_is_heard_by_both_centres_and_answered)
{
    Job job(4);
    for (int rank = 3; rank > 0; --rank)
        job.links[static_cast<std::size_t>(rank)]->send({});
    job.run_until([&] { return job.heard[0].size() >= 3 && job.heard[1].size() >= 2; });
    std::sort(job.heard[0].begin(), job.heard[0].end());
    BOOST_TEST(job.heard[0] == (std::vector<int>{1, 2, 3}), boost::test_tools::per_element());
    std::sort(job.heard[1].begin(), job.heard[1].end());
    BOOST_TEST(job.heard[1] == (std::vector<int>{2, 3}), boost::test_tools::per_element());
    job.links[0]->send({});
    job.run_until([&] { return job.heard[3].size() == 1 && job.heard[1].size() == 3; });
    BOOST_TEST(job.heard[3] == std::vector<int>{0}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(an_address_of_both_machines_is_no_way_to_the_other)
{
    asio::io_context io;
    HeartbeatLinks first(io), second(io);
    std::vector<RankAddress> addresses{address_of_this_rank(first.listen()),
                                       address_of_this_rank(second.listen())};
    for (RankAddress& address : addresses)
        address.addresses = {bridge};
    addresses[1].machine = "another";
    const auto not_reached = second.connect(addresses, {0, 1}, 1, {});
    BOOST_TEST(not_reached == std::vector<int>{0}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(another_machine_is_reached_by_any_of_its_addresses)
{
    Job job(3, true);
    for (int rank = 2; rank > 0; --rank)
        job.links[static_cast<std::size_t>(rank)]->send({});
    job.run_until([&] { return job.heard[0].size() >= 2 && job.heard[2].size() >= 1; });
    std::sort(job.heard[0].begin(), job.heard[0].end());
    BOOST_TEST(job.heard[0] == (std::vector<int>{1, 2}), boost::test_tools::per_element());
    BOOST_TEST(job.heard[2] == std::vector<int>{1}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_rank_alone_has_nothing_to_do)
{
    asio::io_context io;
    HeartbeatLinks links(io);
    const std::vector<RankAddress> addresses{address_of_this_rank(0)};
    links.connect(addresses, choose_centres(addresses), 0, {});
    BOOST_TEST(io.run_for(std::chrono::milliseconds(100)) < 5u);
}

BOOST_AUTO_TEST_CASE(who_cannot_be_accepted_yet_is_tried_now_and_then)
{
    Job job(1);
    asio::io_context elsewhere;
    asio::ip::tcp::socket caller(elsewhere, asio::ip::tcp::v4());
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const int next = ::dup(0);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(next), before.rlim_max}; // no further file
    setrlimit(RLIMIT_NOFILE, &none);
    caller.connect({asio::ip::make_address("127.0.0.1"), job.addresses[0].port});
    const std::size_t handlers = job.io.run_for(std::chrono::milliseconds(350));
    setrlimit(RLIMIT_NOFILE, &before);
    BOOST_TEST(handlers > 1u);
    BOOST_TEST(handlers < 20u);
    // Accepted once there is one: what is no heartbeat is hung up on.
    const std::string noise(10'000, 'x');
    asio::write(caller, asio::buffer(noise));
    bool hung_up = false;
    char byte = 0;
    caller.async_read_some(asio::buffer(&byte, 1), [&](const auto& error, std::size_t) {
        hung_up = static_cast<bool>(error);
    });
    job.run_until([&] {
        elsewhere.poll();
        return hung_up;
    });
    BOOST_TEST(hung_up);
}

BOOST_AUTO_TEST_CASE(a_rank_that_ends_is_noticed)
{
    Job job(3);
    job.links[2]->send({});
    job.run_until([&] { return !job.heard[0].empty() && !job.heard[1].empty(); });
    job.links[2].reset();
    job.run_until([&] { return !job.closed[0].empty() && !job.closed[1].empty(); });
    BOOST_TEST(job.closed[0] == std::vector<int>{2}, boost::test_tools::per_element());
    BOOST_TEST(job.closed[1] == std::vector<int>{2}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(strangers_are_not_listened_to)
{
    Job job(2);
    asio::io_context outside;
    asio::ip::tcp::socket stranger(outside);
    stranger.connect({asio::ip::make_address("127.0.0.1"), job.addresses[0].port});
    Heartbeat forged;
    forged.token = job.addresses[0].token + 1;
    forged.from = 1;
    asio::write(stranger, asio::buffer(&forged, sizeof forged));
    job.links[1]->send({});
    job.run_until([&] { return !job.heard[0].empty(); });
    bool hung_up = false;
    char byte = 0;
    stranger.async_read_some(
        asio::buffer(&byte, 1), [&](const boost::system::error_code& error, std::size_t) {
            hung_up = error == asio::error::eof || error == asio::error::connection_reset;
        });
    job.run_until([&] {
        outside.poll();
        job.links[1]->send({}); // something to do for the loop
        return hung_up;
    });
    BOOST_TEST(hung_up);
    BOOST_TEST(job.closed[0].empty());
}

BOOST_AUTO_TEST_SUITE_END()
