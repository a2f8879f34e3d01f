// Messages of GPUs' memory over MPI, by way of host memory (staged) and from where they lie
// (direct). On a GPU, or on emulated ones (tests/emulated_gpu), whose streams hold every copy back
// as long as CUDA might.
#pragma once

#include "core/arena.hpp"
#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/wait_attendant.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <memory>
#include <vector>

namespace sluice::testing {

inline boost::test_tools::assertion_result a_gpu_is_there(boost::unit_test::test_unit_id)
{
    if (num_gpus() > 0)
        return true;
    if (shared_transport().rank() == 0)
        std::printf("skipped: %s\n", why_no_gpu().c_str());
    return false;
}

inline boost::test_tools::assertion_result mpi_takes_it(boost::unit_test::test_unit_id test)
{
    if (!a_gpu_is_there(test))
        return false;
    if (mpi_takes_gpu_memory())
        return true;
    if (shared_transport().rank() == 0)
        std::printf("skipped: this MPI does not take GPUs' memory\n");
    return false;
}

enum class Way { staged, direct };

/// All ranks on GPU 0, with a transport for its memory over the job's.
struct OverMpi {
    explicit OverMpi(Way way, StagingBuffers buffers = {})
        : compute({.backend = Backend::cuda, .device = use_gpu(0)}),
          transport(way == Way::staged
                        ? make_staged_transport(shared_transport(), compute.stream(), buffers)
                        : make_direct_transport(shared_transport(), compute.stream()))
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

inline std::vector<float> pattern(std::size_t size, int from, int number)
{
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i)
        values[i] = static_cast<float>(1000 * from + 100 * number) + static_cast<float>(i % 97);
    return values;
}

/// Numbers in a GPU's memory.
struct OnGpu {
    /// `ranks`: what has the stream.
    template <class Ranks>
    OnGpu(const Ranks& ranks, std::size_t size)
        : stream(ranks.stream()), memory(size * sizeof(float), stream.device),
          view(memory.allocate(DType::f32, {static_cast<std::int64_t>(size)}))
    {
    }
    ~OnGpu() { drain(stream); }
    OnGpu(const OnGpu&) = delete;
    OnGpu& operator=(const OnGpu&) = delete;

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

// Small messages complete through MPI's buffers, large ones meet their receive: 1 KB to 64 MB,
// both ways round, sends started before receives and behind them.
inline void sizes_from_a_kilobyte_to_64_megabytes(Way way)
{
    const OverMpi ranks(way, {.count = 4, .num_bytes = std::size_t{64} << 20});
    Transport& transport = *ranks.transport;
    for (const std::size_t size : {256u, 1025u, 16384u, 262144u, 2500000u, 16777216u})
        for (const bool send_first : {true, false}) {
            const OnGpu in(ranks, size), out(ranks, size);
            out.fill(pattern(size, transport.rank(), 1));
            const MessageLabel label{0, static_cast<std::int32_t>(size % 1000), send_first};
            MessageId sent = 0;
            if (send_first)
                sent = transport.send(out.view, ranks.next(), label);
            const MessageId received = transport.receive(in.view, ranks.previous(), label);
            if (!send_first)
                sent = transport.send(out.view, ranks.next(), label);
            transport.wait(received);
            transport.wait(sent);
            BOOST_CHECK(in.numbers() == pattern(size, ranks.previous(), 1));
        }
}

inline void later_work_may_overwrite_what_was_waited_for(Way way)
{
    const OverMpi ranks(way);
    Transport& transport = *ranks.transport;
    const OnGpu in(ranks, 5000), out(ranks, 5000), seen(ranks, 5000);
    in.fill(pattern(5000, 50, 0));
    out.fill(pattern(5000, transport.rank(), 2));
    copy(ranks.stream(), in.view, seen.view); // still reads `in` when the receive is asked for
    const MessageId received = transport.receive(in.view, ranks.previous(), {0, 1, false});
    const MessageId sent = transport.send(out.view, ranks.next(), {0, 1, false});
    transport.wait(sent);
    out.fill(pattern(5000, 77, 7));
    transport.wait(received);
    BOOST_CHECK(in.numbers() == pattern(5000, ranks.previous(), 2));
    BOOST_CHECK(seen.numbers() == pattern(5000, 50, 0));
}

// On a rank that sends nothing, nothing else makes the GPU read in time.
inline void a_message_waits_for_who_still_reads_the_memory(Way way)
{
    const OverMpi ranks(way);
    Transport& transport = *ranks.transport;
    constexpr int count = 8;
    std::vector<std::unique_ptr<OnGpu>> seen;
    const OnGpu box(ranks, 4000);
    box.fill(pattern(4000, transport.rank(), 0));
    for (int i = 1; i <= count; ++i) {
        const MessageLabel label{0, i, false};
        if (transport.rank() == 0) {
            box.fill(pattern(4000, 0, i));
            transport.wait(transport.send(box.view, 1, label));
        } else if (transport.rank() == 1) {
            seen.push_back(std::make_unique<OnGpu>(ranks, 4000));
            copy(ranks.stream(), box.view, seen.back()->view);
            transport.wait(transport.receive(box.view, 0, label));
        }
    }
    transport.barrier();
    for (int i = 0; i < static_cast<int>(seen.size()); ++i)
        BOOST_CHECK(seen[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(4000, i == 0 ? 1 : 0, i));
}

inline void equal_labels_match_in_order(Way way)
{
    const OverMpi ranks(way);
    Transport& transport = *ranks.transport;
    constexpr int count = 12;
    std::vector<std::unique_ptr<OnGpu>> in, out;
    std::vector<MessageId> messages;
    for (int i = 0; i < count; ++i) {
        in.push_back(std::make_unique<OnGpu>(ranks, 2000));
        out.push_back(std::make_unique<OnGpu>(ranks, 2000));
        out.back()->fill(pattern(2000, transport.rank(), i));
        messages.push_back(transport.receive(in.back()->view, ranks.previous(), {0, 0, false}));
        messages.push_back(transport.send(out.back()->view, ranks.next(), {0, 0, false}));
        transport.progress();
    }
    for (const MessageId message : messages)
        transport.wait(message);
    for (int i = 0; i < count; ++i)
        BOOST_CHECK(in[static_cast<std::size_t>(i)]->numbers() ==
                    pattern(2000, ranks.previous(), i));
}

// A send whose copy is still held back must not stop a rank that waits for it in another call.
inline void whatever_waits_for_others_starts_what_they_wait_for(Way way)
{
    const OverMpi ranks(way);
    Transport& transport = *ranks.transport;
    const auto group = transport.split(0, transport.rank());
    const OnGpu in(ranks, 3000), out(ranks, 3000);
    out.fill(pattern(3000, transport.rank(), 3));
    const MessageId sent = group->send(out.view, ranks.next(), {0, 4, true});
    MessageId received = 0;
    double one = 1.0;
    if (transport.rank() == 0) {
        transport.sum({&one, 1}); // others are still to receive
        received = group->receive(in.view, ranks.previous(), {0, 4, true});
        group->wait(received);
    } else {
        received = group->receive(in.view, ranks.previous(), {0, 4, true});
        group->wait(received);
        transport.sum({&one, 1});
    }
    group->wait(sent);
    BOOST_CHECK_EQUAL(one, transport.num_ranks());
    BOOST_CHECK(in.numbers() == pattern(3000, ranks.previous(), 3));
}

inline void host_memory_passes_through_and_reuse_is_noticed(Way way)
{
    const OverMpi ranks(way);
    Transport& transport = *ranks.transport;
    std::vector<float> out = pattern(10, transport.rank(), 5), in(10);
    const MessageId received =
        transport.receive(view_of(in.data(), {10}), ranks.previous(), {0, 5, false});
    const MessageId sent = transport.send(view_of(out.data(), {10}), ranks.next(), {0, 5, false});
    transport.wait(received);
    transport.wait(sent);
    BOOST_CHECK(in == pattern(10, ranks.previous(), 5));

    const OnGpu gpu_in(ranks, 10), gpu_out(ranks, 10);
    gpu_out.fill(out);
    const MessageId one = transport.receive(gpu_in.view, ranks.previous(), {0, 6, false});
    transport.wait(transport.send(gpu_out.view, ranks.next(), {0, 6, false}));
    transport.wait(one);
    BOOST_CHECK_THROW(transport.wait(one), InvariantError);
}

} // namespace sluice::testing
