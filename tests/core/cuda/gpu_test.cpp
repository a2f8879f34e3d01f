// Device memory, streams and events on a GPU; skipped where there is none.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_graph.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>

using namespace sluice;

namespace {

bool skipped()
{
    if (num_gpus() > 0)
        return false;
    std::printf("skipped: %s\n", why_no_gpu().c_str());
    return true;
}

std::span<int> ints_of(const PinnedMemory& memory)
{
    return {static_cast<int*>(memory.data()), memory.num_bytes() / sizeof(int)};
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu)

BOOST_AUTO_TEST_CASE(says_what_it_is)
{
    if (skipped())
        return;
    const GpuInfo info = gpu_info(0);
    BOOST_TEST(!info.name.empty());
    BOOST_TEST(info.major >= 7);
    BOOST_TEST(info.total_bytes > (std::size_t{1} << 30));
    BOOST_CHECK_EXCEPTION(gpu_info(num_gpus()), UserError, [](const UserError& error) {
        return error.where() == "CUDA_VISIBLE_DEVICES";
    });
}

BOOST_AUTO_TEST_CASE(bytes_go_there_and_back_in_order)
{
    if (skipped())
        return;
    const Device device = use_gpu(0);
    const GpuStream there(device), back(device, StreamPriority::high, 0);
    BOOST_TEST(there.workspace().data() != nullptr);
    BOOST_TEST(back.workspace().data() == nullptr);
    constexpr std::size_t num_bytes = std::size_t{8} << 20;
    const PinnedMemory sent(num_bytes), received(num_bytes);
    const DeviceMemory on_gpu(num_bytes);
    std::iota(ints_of(sent).begin(), ints_of(sent).end(), 3);
    std::ranges::fill(ints_of(received), -1);
    GpuEvent begun(EventTiming::enabled), copied(EventTiming::enabled), untimed;
    begun.record(there.stream());
    there.copy(on_gpu.data(), sent.data(), num_bytes);
    copied.record(there.stream());
    untimed.record(there.stream());
    copied.hold_back(back.stream());
    back.copy(received.data(), on_gpu.data(), num_bytes);
    back.synchronize();
    BOOST_TEST(copied.reached());
    BOOST_TEST(copied.milliseconds_since(begun) > 0.0);
    untimed.wait();
    BOOST_CHECK_THROW(untimed.milliseconds_since(begun), std::exception);
    BOOST_CHECK_THROW(copied.milliseconds_since(untimed), std::exception);
    BOOST_TEST(std::ranges::equal(ints_of(sent), ints_of(received)));
}

BOOST_AUTO_TEST_CASE(a_graph_runs_when_it_is_launched_on_what_lies_there_then)
{
    if (skipped())
        return;
    const GpuStream stream(use_gpu(0));
    constexpr std::size_t num_bytes = 1024;
    const PinnedMemory host(num_bytes);
    const DeviceMemory from(num_bytes), through(num_bytes), to(num_bytes);
    to.clear();
    const auto seen = [&] {
        stream.copy(host.data(), to.data(), num_bytes);
        stream.synchronize();
        return ints_of(host)[0];
    };
    auto graph = GpuGraph::capture(stream.stream(), [&] {
        stream.copy(through.data(), from.data(), num_bytes);
        stream.copy(to.data(), through.data(), num_bytes);
    });
    BOOST_TEST(graph->num_launches() == 2u);
    BOOST_REQUIRE(graph->make_ready(stream.stream()));
    BOOST_TEST(seen() == 0); // nothing has run
    for (const int number : {3, 4}) {
        std::ranges::fill(ints_of(host), number);
        stream.copy(from.data(), host.data(), num_bytes);
        graph->launch(stream.stream());
        BOOST_TEST(seen() == number);
    }
    std::ranges::fill(ints_of(host), 5);
    stream.copy(from.data(), host.data(), num_bytes);
    graph->launch(stream.stream());
    graph.reset(); // what is queued is still done
    BOOST_TEST(seen() == 5);
}

BOOST_AUTO_TEST_CASE(a_graph_of_nothing_is_ready_and_does_nothing)
{
    if (skipped())
        return;
    const GpuStream stream(use_gpu(0));
    const auto graph = GpuGraph::capture(stream.stream(), [] {});
    BOOST_TEST(graph->num_launches() == 0u);
    BOOST_TEST(graph->is_ready());
    graph->launch(stream.stream());
    stream.synchronize();
}

BOOST_AUTO_TEST_CASE(a_capture_that_fails_leaves_the_stream_as_it_was)
{
    if (skipped())
        return;
    const GpuStream stream(use_gpu(0));
    const DeviceMemory from(256), to(256);
    const auto fail = [&] {
        stream.copy(to.data(), from.data(), 256);
        throw std::runtime_error("half way");
    };
    BOOST_CHECK_THROW(GpuGraph::capture(stream.stream(), fail), std::runtime_error);
    stream.synchronize();
    const auto graph =
        GpuGraph::capture(stream.stream(), [&] { stream.copy(to.data(), from.data(), 256); });
    BOOST_TEST(graph->num_launches() == 1u);
    BOOST_REQUIRE(graph->make_ready(stream.stream()));
    graph->launch(stream.stream());
    stream.synchronize();
}

BOOST_AUTO_TEST_CASE(too_much_memory_is_refused_with_numbers)
{
    if (skipped())
        return;
    use_gpu(0);
    const std::size_t bytes = gpu_info(0).total_bytes * 2;
    BOOST_CHECK_EXCEPTION(DeviceMemory{bytes}, UserError, [&](const UserError& error) {
        return error.problem().find(std::to_string(bytes >> 20) + " MiB") != std::string::npos;
    });
    const DeviceMemory little(256); // and the next call works
    BOOST_TEST(little.data() != nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
