// np: 2 3
// On a GPU, or on emulated ones (tests/emulated_gpu), whose streams hold every copy back as long as
// CUDA might.
#include "core/arena.hpp"
#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <memory>
#include <vector>

using namespace sluice;
using sluice::testing::shared_transport;

namespace {

boost::test_tools::assertion_result a_gpu_is_there(boost::unit_test::test_unit_id)
{
    if (num_gpus() > 0)
        return true;
    if (shared_transport().rank() == 0)
        std::printf("skipped: %s\n", why_no_gpu().c_str());
    return false;
}

/// All ranks on GPU 0, with a staged transport over the job's.
struct Staged {
    explicit Staged(StagingBuffers buffers = {})
        : compute({.backend = Backend::cuda, .device = use_gpu(0)}),
          transport(make_staged_transport(shared_transport(), compute.stream(), buffers))
    {
    }
    const Stream& stream() const { return compute.stream(); }
    int next() const { return (transport->rank() + 1) % transport->num_ranks(); }
    int previous() const
    {
        return (transport->rank() + transport->num_ranks() - 1) % transport->num_ranks();
    }

    ComputeStream compute;
    std::unique_ptr<Transport> transport;
};

std::vector<float> pattern(std::size_t size, int from, int number)
{
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i)
        values[i] = static_cast<float>(1000 * from + 100 * number) + static_cast<float>(i % 97);
    return values;
}

/// Numbers in a GPU's memory.
struct OnGpu {
    OnGpu(const Staged& staged, std::size_t size)
        : stream(staged.stream()), memory(size * sizeof(float), stream.device),
          view(memory.allocate(DType::f32, {static_cast<std::int64_t>(size)}))
    {
    }
    void fill(const std::vector<float>& values) const
    {
        std::vector<float> from(values);
        copy(stream, view_of(from.data(), view.shape), view); // taken at once from such memory
    }
    std::vector<float> numbers() const
    {
        const HostCopy on_host(stream, view);
        const auto found = on_host.view().elements<float>();
        return {found.begin(), found.end()};
    }
    Stream stream;
    Arena memory;
    TensorView view;
};

} // namespace

BOOST_AUTO_TEST_SUITE(staged_transport, *boost::unit_test::precondition(a_gpu_is_there))

// Small messages complete through MPI's buffers, large ones meet their receive: 1 KB to 64 MB,
// both ways round, sends started before receives and behind them.
BOOST_AUTO_TEST_CASE(sizes_from_a_kilobyte_to_64_megabytes)
{
    const Staged staged({.count = 4, .num_bytes = std::size_t{64} << 20});
    Transport& transport = *staged.transport;
    for (const std::size_t size : {256u, 1025u, 16384u, 262144u, 2500000u, 16777216u})
        for (const bool send_first : {true, false}) {
            const OnGpu in(staged, size), out(staged, size);
            out.fill(pattern(size, transport.rank(), 1));
            const MessageLabel label{0, static_cast<std::int32_t>(size % 1000), send_first};
            MessageId sent = 0;
            if (send_first)
                sent = transport.send(out.view, staged.next(), label);
            const MessageId received = transport.receive(in.view, staged.previous(), label);
            if (!send_first)
                sent = transport.send(out.view, staged.next(), label);
            transport.wait(received);
            transport.wait(sent);
            BOOST_CHECK(in.numbers() == pattern(size, staged.previous(), 1));
        }
}

BOOST_AUTO_TEST_CASE(later_work_may_overwrite_what_was_waited_for)
{
    const Staged staged;
    Transport& transport = *staged.transport;
    const OnGpu in(staged, 5000), out(staged, 5000), seen(staged, 5000);
    in.fill(pattern(5000, 50, 0));
    out.fill(pattern(5000, transport.rank(), 2));
    copy(staged.stream(), in.view, seen.view); // still reads `in` when the receive is asked for
    const MessageId received = transport.receive(in.view, staged.previous(), {0, 1, false});
    const MessageId sent = transport.send(out.view, staged.next(), {0, 1, false});
    transport.wait(sent);
    out.fill(pattern(5000, 77, 7));
    transport.wait(received);
    BOOST_CHECK(in.numbers() == pattern(5000, staged.previous(), 2));
    BOOST_CHECK(seen.numbers() == pattern(5000, 50, 0));
}

// On a rank that sends nothing, nothing else makes the GPU read in time.
BOOST_AUTO_TEST_CASE(a_message_waits_for_who_still_reads_the_memory)
{
    const Staged staged;
    Transport& transport = *staged.transport;
    constexpr int count = 8;
    std::vector<std::unique_ptr<OnGpu>> seen;
    const OnGpu box(staged, 4000);
    box.fill(pattern(4000, transport.rank(), 0));
    for (int i = 1; i <= count; ++i) {
        const MessageLabel label{0, i, false};
        if (transport.rank() == 0) {
            box.fill(pattern(4000, 0, i));
            transport.wait(transport.send(box.view, 1, label));
        } else if (transport.rank() == 1) {
            seen.push_back(std::make_unique<OnGpu>(staged, 4000));
            copy(staged.stream(), box.view, seen.back()->view);
            transport.wait(transport.receive(box.view, 0, label));
        }
    }
    transport.barrier();
    for (int i = 0; i < static_cast<int>(seen.size()); ++i)
        BOOST_CHECK(seen[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(4000, i == 0 ? 1 : 0, i));
}

BOOST_AUTO_TEST_CASE(equal_labels_match_in_order)
{
    const Staged staged;
    Transport& transport = *staged.transport;
    constexpr int count = 12;
    std::vector<std::unique_ptr<OnGpu>> in, out;
    std::vector<MessageId> messages;
    for (int i = 0; i < count; ++i) {
        in.push_back(std::make_unique<OnGpu>(staged, 2000));
        out.push_back(std::make_unique<OnGpu>(staged, 2000));
        out.back()->fill(pattern(2000, transport.rank(), i));
        messages.push_back(transport.receive(in.back()->view, staged.previous(), {0, 0, false}));
        messages.push_back(transport.send(out.back()->view, staged.next(), {0, 0, false}));
        transport.progress();
    }
    for (const MessageId message : messages)
        transport.wait(message);
    for (int i = 0; i < count; ++i)
        BOOST_CHECK(in[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(2000, staged.previous(), i));
}

// A send whose copy is still held back must not stop a rank that waits for it in another call.
BOOST_AUTO_TEST_CASE(whatever_waits_for_others_starts_what_they_wait_for)
{
    const Staged staged;
    Transport& transport = *staged.transport;
    const auto group = transport.split(0, transport.rank());
    const OnGpu in(staged, 3000), out(staged, 3000);
    out.fill(pattern(3000, transport.rank(), 3));
    const MessageId sent = group->send(out.view, staged.next(), {0, 4, true});
    MessageId received = 0;
    double one = 1.0;
    if (transport.rank() == 0) {
        transport.sum({&one, 1}); // others are still to receive
        received = group->receive(in.view, staged.previous(), {0, 4, true});
        group->wait(received);
    } else {
        received = group->receive(in.view, staged.previous(), {0, 4, true});
        group->wait(received);
        transport.sum({&one, 1});
    }
    group->wait(sent);
    BOOST_CHECK_EQUAL(one, transport.num_ranks());
    BOOST_CHECK(in.numbers() == pattern(3000, staged.previous(), 3));
}

BOOST_AUTO_TEST_CASE(host_memory_passes_through_and_reuse_is_noticed)
{
    const Staged staged;
    Transport& transport = *staged.transport;
    std::vector<float> out = pattern(10, transport.rank(), 5), in(10);
    const MessageId received =
        transport.receive(view_of(in.data(), {10}), staged.previous(), {0, 5, false});
    const MessageId sent = transport.send(view_of(out.data(), {10}), staged.next(), {0, 5, false});
    transport.wait(received);
    transport.wait(sent);
    BOOST_CHECK(in == pattern(10, staged.previous(), 5));

    const OnGpu gpu_in(staged, 10), gpu_out(staged, 10);
    gpu_out.fill(out);
    const MessageId one = transport.receive(gpu_in.view, staged.previous(), {0, 6, false});
    transport.wait(transport.send(gpu_out.view, staged.next(), {0, 6, false}));
    transport.wait(one);
    BOOST_CHECK_THROW(transport.wait(one), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
