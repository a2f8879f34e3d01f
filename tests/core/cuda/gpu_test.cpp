// Device memory, streams and events on a GPU; skipped where there is none.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <numeric>
#include <span>
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
    GpuEvent begun, copied;
    begun.record(there.stream());
    there.copy(on_gpu.data(), sent.data(), num_bytes);
    copied.record(there.stream());
    copied.hold_back(back.stream());
    back.copy(received.data(), on_gpu.data(), num_bytes);
    back.synchronize();
    BOOST_TEST(copied.reached());
    BOOST_TEST(copied.milliseconds_since(begun) > 0.0);
    BOOST_TEST(std::ranges::equal(ints_of(sent), ints_of(received)));
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
