// np: 2 3 4
#include "core/error.hpp"
#include "pipeline/transport/mpi_message_type.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <memory>
#include <string>
#include <thread>

using namespace sluice;
using sluice::testing::shared_transport;

namespace {

/// Numbers that depend on everything that could be mixed up.
std::vector<float> pattern(std::size_t size, int from, MessageLabel label)
{
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i)
        values[i] = static_cast<float>(from * 7 + label.chunk * 31 + label.microbatch * 101 +
                                       (label.gradient ? 5000 : 0)) +
                    static_cast<float>(i % 1009);
    return values;
}

TensorView view(std::vector<float>& values)
{
    return view_of(values.data(), {static_cast<std::int64_t>(values.size())});
}

int next_rank() { return (shared_transport().rank() + 1) % shared_transport().num_ranks(); }
int previous_rank()
{
    return (shared_transport().rank() + shared_transport().num_ranks() - 1) %
           shared_transport().num_ranks();
}

/// All ranks anew, each told whether it shares its core.
std::unique_ptr<Transport> group_where_cores_are_shared(bool shared)
{
    constexpr const char* yield = "OMPI_MCA_mpi_yield_when_idle";
    const char* const found = std::getenv(yield);
    const std::string before = found != nullptr ? found : "";
    setenv(yield, shared ? "1" : "0", 1);
    auto group = shared_transport().split(0, shared_transport().rank());
    if (found != nullptr)
        setenv(yield, before.c_str(), 1);
    else
        unsetenv(yield);
    return group;
}

} // namespace

BOOST_AUTO_TEST_SUITE(mpi_transport)

BOOST_AUTO_TEST_CASE(labels_match_in_any_order)
{
    Transport& transport = shared_transport();
    constexpr int num_microbatches = 6;
    std::vector<std::vector<float>> in(2 * num_microbatches, std::vector<float>(100)), out;
    std::vector<MessageId> messages;
    // Receives from the last micro-batch to the first, gradients first; sends the other way round.
    for (const bool gradient : {true, false})
        for (int m = num_microbatches - 1; m >= 0; --m)
            messages.push_back(
                transport.receive(view(in[2 * m + gradient]), previous_rank(), {3, m, gradient}));
    for (int m = 0; m < num_microbatches; ++m)
        for (const bool gradient : {false, true})
            out.push_back(pattern(100, transport.rank(), {3, m, gradient}));
    for (int m = 0; m < num_microbatches; ++m)
        for (const bool gradient : {false, true})
            messages.push_back(
                transport.send(view(out[2 * m + gradient]), next_rank(), {3, m, gradient}));
    transport.progress();
    for (const MessageId message : messages)
        transport.wait(message);
    for (int m = 0; m < num_microbatches; ++m)
        for (const bool gradient : {false, true})
            BOOST_TEST((in[2 * m + gradient] == pattern(100, previous_rank(), {3, m, gradient})));
}

// Small messages complete without their receive, large ones do not: sizes on both sides of every
// eager limit, in both directions at once, the sends started before the receives.
BOOST_AUTO_TEST_CASE(sizes_from_nothing_to_eight_megabytes)
{
    Transport& transport = shared_transport();
    for (const std::size_t size :
         {0u, 1u, 3u, 1000u, 1023u, 1025u, 16384u, 100000u, 1048576u, 2097152u}) {
        BOOST_TEST_CONTEXT("elements " << size)
        {
            const MessageLabel forwards{1, 4, false}, backwards{0, 4, true};
            std::vector<float> activation = pattern(size, transport.rank(), forwards),
                               gradient = pattern(size, transport.rank(), backwards),
                               from_left(size), from_right(size);
            const MessageId messages[] = {
                transport.send(view(activation), next_rank(), forwards),
                transport.send(view(gradient), previous_rank(), backwards),
                transport.receive(view(from_left), previous_rank(), forwards),
                transport.receive(view(from_right), next_rank(), backwards)};
            for (const MessageId message : messages)
                transport.wait(message);
            BOOST_TEST((from_left == pattern(size, previous_rank(), forwards)));
            BOOST_TEST((from_right == pattern(size, next_rank(), backwards)));
        }
    }
}

BOOST_AUTO_TEST_CASE(bytes_are_bytes_whatever_the_type)
{
    Transport& transport = shared_transport();
    std::vector<std::uint16_t> out(999), in(999);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<std::uint16_t>(0x7f80 + i); // as bf16: infinities and not-a-numbers
    const TensorView sending{out.data(), DType::bf16, {999}, {}};
    const TensorView receiving{in.data(), DType::bf16, {999}, {}};
    const MessageId received = transport.receive(receiving, previous_rank(), {});
    const MessageId sent = transport.send(sending, next_rank(), {});
    transport.wait(received);
    transport.wait(sent);
    BOOST_TEST((in == out));
}

BOOST_AUTO_TEST_CASE(messages_to_oneself)
{
    Transport& transport = shared_transport();
    std::vector<float> out = pattern(2000000, 1, {}), in(out.size());
    const MessageId sent = transport.send(view(out), transport.rank(), {9, 9, true});
    const MessageId received = transport.receive(view(in), transport.rank(), {9, 9, true});
    transport.wait(sent);
    transport.wait(received);
    BOOST_TEST((in == out));
}

BOOST_AUTO_TEST_CASE(tags_reach_far)
{
    Transport& transport = shared_transport();
    for (const MessageLabel label :
         {MessageLabel{16383, 65535, true}, MessageLabel{0, 65536, false},
          MessageLabel{1023, 2147483647, false}}) {
        std::vector<float> out = pattern(10, transport.rank(), {}), in(10);
        const MessageId received = transport.receive(view(in), previous_rank(), label);
        transport.wait(transport.send(view(out), next_rank(), label));
        transport.wait(received);
        BOOST_TEST((in == pattern(10, previous_rank(), {})));
    }
    float value = 0;
    BOOST_CHECK_THROW(transport.send(view_of(&value, {1}), 0, {16384, 0, false}), InvariantError);
    BOOST_CHECK_THROW(transport.send(view_of(&value, {1}), transport.num_ranks(), {}),
                      InvariantError);
}

BOOST_AUTO_TEST_CASE(a_wrong_size_names_both_ends)
{
    Transport& transport = shared_transport();
    for (const std::size_t sent_size : {2u, 30u}) {
        std::vector<float> out(sent_size), in(10);
        const MessageId received = transport.receive(view(in), previous_rank(), {2, 5, false});
        const MessageId sent = transport.send(view(out), next_rank(), {2, 5, false});
        BOOST_CHECK_EXCEPTION(transport.wait(received), PeerError, [&](const PeerError& error) {
            const std::string text = error.what();
            BOOST_TEST_MESSAGE(text);
            return text.find("rank " + std::to_string(transport.rank())) != std::string::npos &&
                   text.find("from rank " + std::to_string(previous_rank())) != std::string::npos &&
                   text.find("activation of micro-batch 5 for chunk 2") != std::string::npos;
        });
        transport.wait(sent);
    }
}

BOOST_AUTO_TEST_CASE(a_message_is_waited_for_once)
{
    Transport& transport = shared_transport();
    transport.wait(0);
    float out = 1, in = 0;
    const MessageId received = transport.receive(view_of(&in, {1}), transport.rank(), {});
    transport.wait(transport.send(view_of(&out, {1}), transport.rank(), {}));
    transport.wait(received);
    BOOST_CHECK_THROW(transport.wait(received), InvariantError);
    BOOST_CHECK_THROW(transport.wait(1 << 20), InvariantError);
}

BOOST_AUTO_TEST_CASE(initialising_twice_is_a_broken_promise)
{
    BOOST_CHECK_THROW(make_mpi_transport(), InvariantError);
}

// Whatever the order of addition, a number plus zeros is that number.
BOOST_AUTO_TEST_CASE(sums_of_single_owners_are_exact)
{
    Transport& transport = shared_transport();
    std::vector<double> values(1000, 0.0);
    const auto number = [](std::size_t i) {
        return std::bit_cast<double>((std::uint64_t{0x3fe} << 52) | (i * 0x9e3779b97f4a7ull)) *
               std::pow(10.0, static_cast<double>(i % 600) - 300.0);
    };
    for (std::size_t i = 0; i < values.size(); ++i)
        if (static_cast<int>(i) % transport.num_ranks() == transport.rank())
            values[i] = number(i);
    transport.sum(values);
    for (std::size_t i = 0; i < values.size(); ++i)
        BOOST_TEST(std::bit_cast<std::uint64_t>(values[i]) ==
                   std::bit_cast<std::uint64_t>(number(i)));

    std::vector<double> special{transport.rank() == 0 ? std::nan("") : 0.0,
                                transport.rank() == 1 ? std::numeric_limits<double>::infinity()
                                                      : 0.0};
    transport.sum(special);
    BOOST_TEST(std::isnan(special[0]));
    BOOST_TEST(std::isinf(special[1]));
    transport.sum({});
}

BOOST_AUTO_TEST_CASE(sums_and_maxima)
{
    Transport& transport = shared_transport();
    const double ranks = transport.num_ranks();
    std::vector<double> values{1.0 + transport.rank(), -1.0 - transport.rank()};
    transport.sum(values);
    BOOST_TEST(values[0] == ranks * (ranks + 1) / 2);
    std::vector<double> largest{1.0 * transport.rank(), -1.0 - transport.rank()};
    transport.max(largest);
    BOOST_TEST(largest[0] == ranks - 1);
    BOOST_TEST(largest[1] == -1.0);
}

BOOST_AUTO_TEST_CASE(text_arrives_in_rank_order)
{
    Transport& transport = shared_transport();
    const auto text = [](int rank) {
        return rank == 1 ? std::string() : "rank " + std::string(1 + rank * 1000, 'x') + "\0 end";
    };
    const auto texts = transport.gather_text(text(transport.rank()));
    BOOST_REQUIRE(static_cast<int>(texts.size()) == transport.num_ranks());
    for (int rank = 0; rank < transport.num_ranks(); ++rank)
        BOOST_TEST(texts[static_cast<std::size_t>(rank)] == text(rank));
    for (const std::string& each : transport.gather_text(""))
        BOOST_TEST(each.empty());
}

BOOST_AUTO_TEST_CASE(broadcasts_from_every_rank)
{
    Transport& transport = shared_transport();
    for (int root = 0; root < transport.num_ranks(); ++root)
        for (const std::size_t size : {0u, 1u, 5000000u}) {
            std::vector<std::byte> bytes(size, std::byte(transport.rank() + 1));
            transport.broadcast(bytes, root);
            BOOST_TEST(std::all_of(bytes.begin(), bytes.end(),
                                   [&](std::byte each) { return each == std::byte(root + 1); }));
        }
    BOOST_CHECK_THROW(transport.broadcast({}, transport.num_ranks()), InvariantError);
    transport.barrier();
}

// Two groups from even and odd ranks, numbered backwards: the same labels and collectives in both
// and in the whole, under way at once.
BOOST_AUTO_TEST_CASE(groups_keep_their_messages_to_themselves)
{
    Transport& world = shared_transport();
    const int color = world.rank() % 2;
    const int size = (world.num_ranks() + 1 - color) / 2;
    const auto group = world.split(color, -world.rank());
    BOOST_TEST(group->num_ranks() == size);
    BOOST_TEST(group->rank() == size - 1 - world.rank() / 2);
    BOOST_TEST(group->world_rank() == world.rank());

    const MessageLabel label{1, 2, false};
    std::vector<float> to_world = pattern(50000, world.rank(), label),
                       to_group = pattern(50000, 100 + world.rank(), label), from_world(50000),
                       from_group(50000);
    const int next = (group->rank() + 1) % size, previous = (group->rank() + size - 1) % size;
    const MessageId in_group = group->receive(view(from_group), previous, label);
    const MessageId in_world = world.receive(view(from_world), previous_rank(), label);
    const MessageId out_world = world.send(view(to_world), next_rank(), label);
    const MessageId out_group = group->send(view(to_group), next, label);
    group->wait(in_group);
    group->wait(out_group);
    world.wait(in_world);
    world.wait(out_world);
    const int previous_in_world = 2 * (size - 1 - previous) + color;
    BOOST_TEST((from_group == pattern(50000, 100 + previous_in_world, label)));
    BOOST_TEST((from_world == pattern(50000, previous_rank(), label)));

    std::vector<double> values{1.0 + world.rank()};
    group->sum(values);
    double expected = 0.0;
    for (int rank = color; rank < world.num_ranks(); rank += 2)
        expected += 1.0 + rank;
    BOOST_TEST(values[0] == expected);
    BOOST_TEST(group->gather_text(std::to_string(world.rank())).front() ==
               std::to_string(2 * (size - 1) + color));
    const auto alone = group->split(group->rank(), 0);
    BOOST_TEST(alone->num_ranks() == 1);
    BOOST_TEST(alone->world_rank() == world.rank());
}

BOOST_AUTO_TEST_CASE(what_goes_wrong_in_a_group_names_ranks_of_the_whole)
{
    Transport& world = shared_transport();
    const auto group = world.split(0, -world.rank());
    std::vector<float> out(2), in(10);
    const int peer = world.num_ranks() - 1 - previous_rank();
    const MessageLabel label{.microbatch = 3, .called = "piece"};
    const MessageId received = group->receive(view(in), peer, label);
    const MessageId sent = group->send(view(out), world.num_ranks() - 1 - next_rank(), label);
    BOOST_CHECK_EXCEPTION(group->wait(received), PeerError, [&](const PeerError& error) {
        const std::string text = error.what();
        BOOST_TEST_MESSAGE(text);
        return text.find("rank " + std::to_string(world.rank()) + " receiving from rank " +
                         std::to_string(previous_rank()) + " the piece 3") != std::string::npos;
    });
    group->wait(sent);
}

BOOST_AUTO_TEST_CASE(asking_whether_a_message_is_done)
{
    Transport& transport = shared_transport();
    BOOST_TEST(transport.is_done(0));
    std::vector<float> out = pattern(2000000, transport.rank(), {}), in(out.size());
    const MessageId received = transport.receive(view(in), transport.rank(), {});
    BOOST_TEST(!transport.is_done(received));
    const MessageId sent = transport.send(view(out), transport.rank(), {});
    while (!transport.is_done(received) || !transport.is_done(sent)) {
    }
    BOOST_TEST((in == out));
    transport.wait(received);
    transport.wait(sent);
    BOOST_CHECK_THROW(transport.is_done(received), InvariantError);
}

// A rank that spun would have used the half second up: whatever else runs here, one that sleeps has
// not.
BOOST_AUTO_TEST_CASE(who_waits_for_a_late_rank_leaves_its_core_to_others)
{
    const auto group = group_where_cores_are_shared(true);
    Transport& transport = *group;
    std::vector<float> in(10), out(10);
    const auto used = [] {
        timespec time{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    };
    for (const bool collective : {true, false}) {
        transport.barrier();
        const double before = used();
        if (transport.rank() == 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(500));
        if (collective) {
            transport.barrier();
        } else { // down the line of ranks
            if (transport.rank() > 0)
                transport.wait(transport.receive(view(in), previous_rank(), {0, 0, false}));
            if (transport.rank() < transport.num_ranks() - 1)
                transport.wait(transport.send(view(out), next_rank(), {0, 0, false}));
        }
        BOOST_TEST(used() - before < 0.15);
    }
}

// A node with more ranks than cores among others that have enough.
BOOST_AUTO_TEST_CASE(ranks_that_share_cores_and_ranks_that_do_not_meet_in_collective_calls)
{
    const auto group = group_where_cores_are_shared(shared_transport().rank() != 0);
    for (int i = 0; i < 20; ++i) {
        std::vector<double> values = {1.0, 10.0 * group->rank()};
        group->sum(values);
        BOOST_TEST(values[0] == group->num_ranks());
        group->barrier();
        BOOST_TEST(group->gather_text(std::to_string(group->rank())).back() ==
                   std::to_string(group->num_ranks() - 1));
    }
}

// The type for more bytes than an int counts, tried at a limit of 1000 bytes.
BOOST_AUTO_TEST_CASE(types_for_giant_messages)
{
    const int rank = shared_transport().rank();
    for (const std::int64_t size : {0, 1, 999, 1000, 1001, 1999, 2000, 123456}) {
        std::vector<unsigned char> out(static_cast<std::size_t>(size)), in(out.size() + 1, 0xee);
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = static_cast<unsigned char>(i * 7 + i / 256);
        MpiMessageType type = mpi_message_type(size, 1000);
        BOOST_TEST(type.owned == (size > 1000));
        MPI_Sendrecv(out.data(), type.count, type.type, rank, 0, in.data(), type.count, type.type,
                     rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (type.owned)
            MPI_Type_free(&type.type);
        BOOST_TEST(std::equal(out.begin(), out.end(), in.begin()));
        BOOST_TEST(in.back() == 0xee);
    }
    const std::int64_t giant = (std::int64_t{5} << 30) + 3;
    MpiMessageType type = mpi_message_type(giant);
    MPI_Count bytes = 0;
    MPI_Type_size_x(type.type, &bytes);
    BOOST_TEST(bytes * type.count == giant);
    MPI_Type_free(&type.type);
}

BOOST_AUTO_TEST_SUITE_END()
