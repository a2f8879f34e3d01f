// np: 2 3
// Messages by NCCL between ranks with a GPU each, or with an emulated one (tests/emulated_gpu).
#include "tests/pipeline/transport/gpu_messages_over_mpi.hpp"
#include "tests/pipeline/transport/ranks_with_nccl.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <string>

using namespace sluice;
using sluice::testing::ByNccl;
using sluice::testing::gpus_and_nccl_are_there;
using sluice::testing::OnGpu;
using sluice::testing::pattern;
using sluice::testing::shared_transport;

namespace {

/// What a rank sends to another.
int number_for(int to) { return to + 1; }

constexpr std::size_t sizes[] = {256, 1025, 262144, 16777216};

} // namespace

BOOST_AUTO_TEST_SUITE(nccl_transport, *boost::unit_test::precondition(gpus_and_nccl_are_there))

// Receives asked for before sends on one rank and behind them on the next.
BOOST_AUTO_TEST_CASE(sizes_from_a_kilobyte_to_64_megabytes_on_edges)
{
    const ByNccl ranks;
    const auto transport = ranks.ring();
    for (const std::size_t size : sizes) {
        const OnGpu activation(ranks, size), gradient(ranks, size), from_previous(ranks, size),
            from_next(ranks, size);
        activation.fill(pattern(size, ranks.rank(), 1));
        gradient.fill(pattern(size, ranks.rank(), 2));
        const auto send = [&] {
            return std::vector{
                transport->send(activation.view, ranks.next(), {ranks.next(), 0, false}),
                transport->send(gradient.view, ranks.previous(), {ranks.previous(), 0, true})};
        };
        std::vector<MessageId> sent, received;
        if (ranks.rank() % 2 == 0)
            sent = send();
        received = {
            transport->receive(from_previous.view, ranks.previous(), {ranks.rank(), 0, false}),
            transport->receive(from_next.view, ranks.next(), {ranks.rank(), 0, true})};
        if (ranks.rank() % 2 != 0)
            sent = send();
        transport->progress();
        for (const auto* messages : {&received, &sent})
            for (const MessageId message : *messages)
                transport->wait(message);
        BOOST_CHECK(from_previous.numbers() == pattern(size, ranks.previous(), 1));
        BOOST_CHECK(from_next.numbers() == pattern(size, ranks.next(), 2));
    }
}

// All receives come first, so that many wait on one stream; sizes differ, so that none can take
// another's place.
BOOST_AUTO_TEST_CASE(chunks_share_a_way_in_the_order_of_the_calls)
{
    const ByNccl ranks;
    constexpr int chunks_per_rank = 3, num_messages = 6; // of each kind
    const auto transport = ranks.ring(chunks_per_rank);
    const auto size = [](int i) { return static_cast<std::size_t>(1000 + 1200000 * (i % 2)); };
    const auto label = [&](int to, int i, bool gradient) {
        return MessageLabel{to + i % chunks_per_rank * ranks.num_ranks(), i / chunks_per_rank,
                            gradient};
    };
    // Memory comes and is filled first: either may wait for all that is under way on the GPU.
    std::vector<std::unique_ptr<OnGpu>> in[2], out[2]; // activations, gradients
    for (const int gradient : {0, 1})
        for (int i = 0; i < num_messages; ++i) {
            in[gradient].push_back(std::make_unique<OnGpu>(ranks, size(i)));
            out[gradient].push_back(std::make_unique<OnGpu>(ranks, size(i)));
            out[gradient].back()->fill(pattern(size(i), ranks.rank(), 2 * i + gradient));
        }
    const int comes_from[2] = {ranks.previous(), ranks.next()};
    const int goes_to[2] = {ranks.next(), ranks.previous()};
    std::vector<MessageId> under_way;
    for (const int gradient : {0, 1})
        for (int i = 0; i < num_messages; ++i)
            under_way.push_back(transport->receive(in[gradient][i]->view, comes_from[gradient],
                                                   label(ranks.rank(), i, gradient)));
    for (const int gradient : {1, 0})
        for (int i = 0; i < num_messages; ++i)
            under_way.push_back(transport->send(out[gradient][i]->view, goes_to[gradient],
                                                label(goes_to[gradient], i, gradient)));
    for (const MessageId message : under_way)
        transport->wait(message);
    for (const int gradient : {0, 1})
        for (int i = 0; i < num_messages; ++i)
            BOOST_CHECK(in[gradient][i]->numbers() ==
                        pattern(size(i), comes_from[gradient], 2 * i + gradient));
}

BOOST_AUTO_TEST_CASE(sizes_from_a_kilobyte_to_64_megabytes_in_groups)
{
    const ByNccl ranks;
    const auto transport = ranks.groups();
    for (const std::size_t size : sizes) {
        std::vector<std::unique_ptr<OnGpu>> in, out;
        std::vector<MessageId> messages;
        for (int other = 0; other < ranks.num_ranks(); ++other) {
            const std::size_t asked = other == ranks.rank() ? 1 : size;
            in.push_back(std::make_unique<OnGpu>(ranks, asked));
            out.push_back(std::make_unique<OnGpu>(ranks, asked));
            out.back()->fill(pattern(asked, ranks.rank(), number_for(other)));
        }
        transport->begin_group();
        for (int other = 0; other < ranks.num_ranks(); ++other) {
            if (other == ranks.rank())
                continue;
            const auto at = static_cast<std::size_t>(other);
            messages.push_back(transport->receive(in[at]->view, other, {}));
            messages.push_back(transport->send(out[at]->view, other, {}));
        }
        transport->end_group();
        transport->progress();
        for (const MessageId message : messages)
            transport->wait(message);
        for (int other = 0; other < ranks.num_ranks(); ++other)
            if (other != ranks.rank())
                BOOST_CHECK(in[static_cast<std::size_t>(other)]->numbers() ==
                            pattern(size, other, number_for(ranks.rank())));
    }
}

BOOST_AUTO_TEST_CASE(groups_keep_the_order_of_the_computing_stream)
{
    const ByNccl ranks;
    const auto transport = ranks.groups();
    constexpr int count = 6;
    const OnGpu in(ranks, 3000), out(ranks, 3000);
    std::vector<std::unique_ptr<OnGpu>> seen;
    for (int i = 0; i < count; ++i) {
        out.fill(pattern(3000, ranks.rank(), i)); // overwrites what the last group has sent
        transport->begin_group();
        const MessageId received = transport->receive(in.view, ranks.previous(), {0, i, true});
        const MessageId sent = transport->send(out.view, ranks.next(), {0, i, true});
        transport->end_group();
        transport->is_done(received);
        transport->wait(received);
        transport->wait(sent);
        seen.push_back(std::make_unique<OnGpu>(ranks, 3000));
        copy(ranks.stream(), in.view, seen.back()->view); // the next one overwrites it
    }
    for (int i = 0; i < count; ++i)
        BOOST_CHECK(seen[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(3000, ranks.previous(), i));
}

BOOST_AUTO_TEST_CASE(messages_of_a_pair_match_in_order_within_a_group)
{
    const ByNccl ranks;
    const auto transport = ranks.groups();
    std::vector<std::unique_ptr<OnGpu>> in, out;
    std::vector<MessageId> messages;
    transport->begin_group();
    for (int i = 0; i < 4; ++i) {
        in.push_back(std::make_unique<OnGpu>(ranks, 500));
        out.push_back(std::make_unique<OnGpu>(ranks, 500));
        out.back()->fill(pattern(500, ranks.rank(), i));
        messages.push_back(transport->send(out.back()->view, ranks.next(), {}));
        messages.push_back(transport->receive(in.back()->view, ranks.previous(), {}));
    }
    transport->end_group();
    for (const MessageId message : messages)
        transport->wait(message);
    for (int i = 0; i < 4; ++i)
        BOOST_CHECK(in[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(500, ranks.previous(), i));
}

// What the host holds back would never start if the GPU then waited for the rank that waits for it.
BOOST_AUTO_TEST_CASE(what_is_held_back_starts_before_the_gpu_waits_for_others)
{
    const ByNccl ranks;
    const auto transport = ranks.groups();
    const OnGpu in(ranks, 2000), out(ranks, 2000), held(ranks, 2000);
    held.fill(pattern(2000, ranks.rank(), 7));
    if (ranks.rank() == 0) // meets the others in the group only when it has their messages
        for (int other = 1; other < ranks.num_ranks(); ++other) {
            transport->wait(transport->receive(in.view, other, {}));
            BOOST_CHECK(in.numbers() == pattern(2000, other, 7));
        }
    else
        transport->wait(transport->send(held.view, 0, {}));
    out.fill(pattern(2000, ranks.rank(), 8));
    transport->begin_group();
    const MessageId received = transport->receive(in.view, ranks.previous(), {});
    const MessageId sent = transport->send(out.view, ranks.next(), {});
    transport->end_group();
    transport->wait(received);
    transport->wait(sent);
    BOOST_CHECK(in.numbers() == pattern(2000, ranks.previous(), 8));
}

BOOST_AUTO_TEST_CASE(groups_are_not_nested_and_not_waited_for_inside)
{
    const ByNccl ranks;
    const auto transport = ranks.groups();
    const OnGpu in(ranks, 10), out(ranks, 10);
    BOOST_CHECK_THROW(transport->end_group(), InvariantError);
    transport->begin_group();
    BOOST_CHECK_THROW(transport->begin_group(), InvariantError);
    const MessageId received = transport->receive(in.view, ranks.previous(), {});
    const MessageId sent = transport->send(out.view, ranks.next(), {});
    BOOST_CHECK_THROW(transport->is_done(received), InvariantError);
    BOOST_CHECK_THROW(transport->send(out.view, ranks.rank(), {}), InvariantError);
    transport->end_group();
    transport->wait(received);
    transport->wait(sent);
}

// Real NCCL finds that out by the network, or not at all. An emulated one gives up on a message
// after a while; where it comes late all the same, the connection can end.
BOOST_AUTO_TEST_CASE(that_a_peer_has_given_up_is_found_between_actions)
{
    const ByNccl ranks;
    if (gpu_info(0).name != "emulated GPU")
        return;
    for (const bool in_groups : {false, true}) {
        const auto transport = in_groups ? ranks.groups() : ranks.ring();
        const OnGpu in(ranks, 1000), out(ranks, 1000);
        const int late = ranks.num_ranks() - 1;
        const auto exchange = [&] {
            if (in_groups)
                transport->begin_group();
            MessageId message = 0;
            if (ranks.rank() == 0)
                message = transport->receive(in.view, late, {0, 0, false});
            else if (ranks.rank() == late)
                message = transport->send(out.view, 0, {0, 0, false});
            if (in_groups)
                transport->end_group();
            return message;
        };
        MessageId message = 0;
        if (ranks.rank() == 0) {
            message = exchange();
            ::setenv("SLUICE_EMULATED_NCCL_PATIENCE", "0.5", 1);
            BOOST_CHECK_EXCEPTION(while (true) transport->progress(), PeerError,
                                  [](const PeerError& error) {
                                      const std::string text = error.what();
                                      return text.find("given up") != std::string::npos &&
                                             text.find("complained of: a connection was closed") !=
                                                 std::string::npos &&
                                             text.find("NCCL_DEBUG=WARN") != std::string::npos;
                                  });
        }
        ::unsetenv("SLUICE_EMULATED_NCCL_PATIENCE");
        ranks.host->barrier();
        if (ranks.rank() != 0)
            message = exchange();
        if (message != 0)
            transport->wait(message);
        out.numbers(); // has come and gone
        ranks.host->barrier();
    }
}

BOOST_AUTO_TEST_SUITE_END()
