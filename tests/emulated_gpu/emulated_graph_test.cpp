// Graphs on emulated GPUs: what a capture keeps, what is read when it runs, what is refused.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_graph.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/wait_attendant.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/matmul.hpp"
#include "layers/kernels/sum_of_squares.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <boost/test/unit_test.hpp>
#include <set>
#include <string>
#include <thread>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// A stream, a number on its GPU that goes into its work, and one that comes out.
struct Numbers {
    explicit Numbers(std::uint64_t seed = 0) : device(use_gpu(0)), stream(device)
    {
        WorkQueues::of_process().set_seed(seed);
        host_value() = 1.0F;
        upload();
        stream.synchronize();
    }
    ~Numbers()
    {
        drain(stream.stream());
        WorkQueues::of_process().set_seed(0);
    }

    float& host_value() { return *static_cast<float*>(host.data()); }
    TensorView view(const DeviceMemory& memory) const
    {
        return {memory.data(), DType::f32, Shape{1, 1}, device};
    }
    void upload() { stream.copy(in.data(), host.data(), sizeof(float)); }
    float result()
    {
        const PinnedMemory seen(sizeof(float));
        stream.copy(seen.data(), out.data(), sizeof(float));
        stream.synchronize();
        return *static_cast<float*>(seen.data());
    }
    void scale(double factor) const
    {
        kernels::launch(stream.stream(),
                        kernels::Scale{.x = view(in), .y = view(out), .factor = factor});
    }
    /// out = alpha one one
    void product(const kernels::Factor& alpha) const
    {
        kernels::launch(stream.stream(), kernels::Fill{.to = view(one), .value = 1.0});
        kernels::launch(
            stream.stream(),
            kernels::Matmul{.a = view(one), .b = view(one), .out = view(out), .alpha = alpha});
    }
    auto capture(const std::function<void()>& launches) const
    {
        auto graph = GpuGraph::capture(stream.stream(), launches);
        BOOST_REQUIRE(graph->make_ready(stream.stream()));
        return graph;
    }

    Device device;
    GpuStream stream;
    DeviceMemory in{sizeof(float)}, one{sizeof(float)}, out{sizeof(float)};
    PinnedMemory host{sizeof(float)};
};

void check_refused(const Numbers& n, const std::function<void()>& launches, const std::string& part)
{
    const auto named = [&](const EmulationError& error) {
        BOOST_TEST_MESSAGE(error.what());
        return std::string(error.what()).find(part) != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(n.capture(launches), EmulationError, named);
    n.stream.synchronize(); // the capture is over
}

} // namespace

BOOST_AUTO_TEST_SUITE(emulated_graph)

BOOST_AUTO_TEST_CASE(numbers_stay_as_they_were_given_and_memory_is_read_when_it_runs)
{
    Numbers n;
    double factor = 3.0;
    const auto scaled = n.capture([&] { n.scale(factor); });
    const auto given = n.capture([&] { n.product(factor); });
    const auto in_memory = n.capture([&] { n.product({factor, n.view(n.in)}); });
    factor = 5.0; // too late
    n.host_value() = 2.0F;
    n.upload();
    scaled->launch(n.stream.stream());
    BOOST_TEST(n.result() == 6.0F);
    given->launch(n.stream.stream());
    BOOST_TEST(n.result() == 3.0F);
    in_memory->launch(n.stream.stream());
    BOOST_TEST(n.result() == 2.0F);
}

BOOST_AUTO_TEST_CASE(it_runs_as_late_or_early_as_other_work_and_in_its_order)
{
    std::set<float> seen;
    for (std::uint64_t seed = 0; seed <= 64; ++seed) {
        Numbers n(seed);
        const auto graph = n.capture([&] { n.scale(10.0); });
        n.host_value() = 2.0F;
        n.upload();
        graph->launch(n.stream.stream());
        n.host_value() = 3.0F; // too early: the host did not wait
        seen.insert(n.result());
    }
    BOOST_TEST((seen == std::set<float>{20.0F, 30.0F}));
}

BOOST_AUTO_TEST_CASE(what_a_capture_forbids_is_refused)
{
    Numbers n;
    const GpuStream other(n.device);
    GpuEvent earlier, later;
    earlier.record(n.stream.stream());
    n.stream.synchronize();
    check_refused(
        n, [&] { n.stream.synchronize(); }, "no waiting for a stream");
    check_refused(
        n, [&] { other.synchronize(); }, "no waiting for a stream");
    check_refused(
        n, [&] { earlier.wait(); }, "no waiting for an event");
    check_refused(
        n, [&] { earlier.reached(); }, "no asking for an event");
    check_refused(
        n, [&] { later.record(n.stream.stream()); }, "an event on a stream");
    check_refused(
        n, [&] { earlier.hold_back(n.stream.stream()); }, "an event on a stream");
    check_refused(
        n, [&] { n.upload(); }, "a copy from or to the host");
    check_refused(
        n, [&] { DeviceMemory{256}; }, "no taking memory");
    check_refused(
        n, [&] { PinnedMemory{256}; }, "no taking memory");
    check_refused(
        n, [&] { std::thread([&] { BOOST_CHECK_THROW(n.scale(1.0), EmulationError); }).join(); },
        "lost by work of another thread");
    auto freed = std::make_unique<DeviceMemory>(256);
    check_refused(
        n, [&] { freed.reset(); }, "lost by");
    const auto graph = n.capture([&] { n.scale(1.0); });
    check_refused(
        n, [&] { graph->launch(n.stream.stream()); }, "is captured");
    // A refusal that somebody swallows still costs the capture.
    check_refused(
        n, [&] { BOOST_CHECK_THROW(n.stream.synchronize(), EmulationError); }, "lost by");
}

BOOST_AUTO_TEST_CASE(other_threads_and_other_streams_go_on)
{
    Numbers n;
    const GpuStream other(n.device);
    const auto graph = n.capture([&] {
        n.scale(2.0);
        other.copy(n.one.data(), n.in.data(), sizeof(float));
        std::thread([&] {
            use_gpu(0);
            other.synchronize();
            const DeviceMemory memory(256);
        }).join();
    });
    BOOST_TEST(graph->num_launches() == 1u);
}

BOOST_AUTO_TEST_CASE(work_with_a_workspace_runs_again)
{
    Numbers n;
    const DeviceMemory sum(sizeof(double));
    const auto graph = n.capture([&] {
        kernels::launch(n.stream.stream(),
                        kernels::SumOfSquares{.x = {n.view(n.in)},
                                              .results = {sum.data(), DType::f64, {1}, n.device}});
    });
    n.stream.synchronize();
    for (int i = 0; i < 2; ++i) {
        graph->launch(n.stream.stream());
        const PinnedMemory seen(sizeof(double));
        n.stream.copy(seen.data(), sum.data(), sizeof(double));
        n.stream.synchronize();
        BOOST_TEST(*static_cast<double*>(seen.data()) == 1.0);
    }
}

BOOST_AUTO_TEST_CASE(a_graph_of_nothing_never_goes_to_the_gpu)
{
    Numbers n;
    const std::size_t before = free_gpu_bytes();
    const auto graph = GpuGraph::capture(n.stream.stream(), [] {});
    BOOST_TEST(graph->is_ready());
    BOOST_TEST(graph->make_ready(n.stream.stream()));
    BOOST_TEST(free_gpu_bytes() == before);
    graph->launch(n.stream.stream());
    n.stream.synchronize();
}

BOOST_AUTO_TEST_CASE(a_graph_needs_memory)
{
    Numbers n;
    const std::size_t before = free_gpu_bytes();
    const DeviceMemory rest(before - 512);
    const auto graph = GpuGraph::capture(n.stream.stream(), [&] { n.scale(2.0); });
    BOOST_TEST(!graph->make_ready(n.stream.stream()));
    BOOST_CHECK_THROW(graph->launch(n.stream.stream()), InvariantError);
    n.scale(3.0); // and the stream is as before
    BOOST_TEST(n.result() == 3.0F);
}

BOOST_AUTO_TEST_SUITE_END()
