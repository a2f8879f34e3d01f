// Operations on emulated GPUs: what is refused, and that they run when they may.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/sum_of_squares.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr std::int64_t n = 100;

TensorView view_of(void* data, Device device, DType dtype = DType::f32, std::int64_t count = n)
{
    return {data, dtype, Shape{count}, device};
}

/// The operation is refused at once, in words that hold all parts.
template <class Op>
void check_refused(const GpuStream& stream, const Op& op, const std::vector<std::string>& parts)
{
    BOOST_CHECK_EXCEPTION(kernels::launch(stream.stream(), op), EmulationError,
                          [&](const EmulationError& error) {
                              BOOST_TEST_MESSAGE(error.what());
                              return std::ranges::all_of(parts, [&](const std::string& part) {
                                  return std::string(error.what()).find(part) != std::string::npos;
                              });
                          });
}

} // namespace

BOOST_AUTO_TEST_SUITE(emulated_kernels)

BOOST_AUTO_TEST_CASE(an_operation_runs_when_the_host_waits)
{
    const GpuStream stream(use_gpu(0));
    const Device device = stream.stream().device;
    const DeviceMemory x(n * sizeof(float)), y(n * sizeof(float)), sum(sizeof(double));
    std::vector<float> host(n);
    std::iota(host.begin(), host.end(), 1.0F);
    const PinnedMemory result(sizeof(double));
    const double& seen = *static_cast<const double*>(result.data());
    stream.copy(x.data(), host.data(), x.num_bytes());
    kernels::launch(stream.stream(), kernels::Scale{.x = view_of(x.data(), device),
                                                    .y = view_of(y.data(), device),
                                                    .factor = 2.0});
    kernels::launch(stream.stream(),
                    kernels::SumOfSquares{.x = {view_of(y.data(), device)},
                                          .results = view_of(sum.data(), device, DType::f64, 1)});
    stream.copy(result.data(), sum.data(), sizeof(double));
    BOOST_TEST(!(seen == seen)); // NaN: nothing has run
    stream.synchronize();
    BOOST_TEST(seen == 4.0 * 100 * 101 * 201 / 6);
}

BOOST_AUTO_TEST_CASE(operands_elsewhere_are_refused_by_name)
{
    setenv("SLUICE_EMULATED_GPUS", "2", 1);
    const Device other = use_gpu(1);
    const DeviceMemory far(n * sizeof(float));
    const GpuStream stream(use_gpu(0));
    const Device device = stream.stream().device;
    const DeviceMemory near(n * sizeof(float));
    const PinnedMemory pinned(n * sizeof(float));
    std::vector<float> host(n);
    const TensorView good = view_of(near.data(), device);
    const auto add = [&](const TensorView& y) { return kernels::Add{.x = good, .y = y}; };

    check_refused(stream, add(view_of(host.data(), device)), {"Add, operand y", "neither"});
    check_refused(stream, add(view_of(pinned.data(), device)), {"Add, operand y", "pinned"});
    check_refused(stream, add(view_of(near.data(), Device{})), {"Add, operand y", "does not say"});
    check_refused(stream, add(view_of(near.data(), other)), {"Add, operand y", "does not say"});
    check_refused(stream, add(view_of(far.data(), device)), {"Add, operand y", "memory of GPU 1"});
    check_refused(stream, add(view_of(near.data(), device, DType::f32, n + 1)),
                  {"Add, operand y", "404 bytes, where 400 are left"});
    unsetenv("SLUICE_EMULATED_GPUS");
}

BOOST_AUTO_TEST_CASE(every_thread_has_a_current_gpu_of_its_own)
{
    setenv("SLUICE_EMULATED_GPUS", "2", 1);
    const GpuStream stream(use_gpu(1));
    const DeviceMemory memory(n * sizeof(float));
    const kernels::Fill fill{.to = view_of(memory.data(), stream.stream().device)};
    kernels::launch(stream.stream(), fill);
    std::thread([&] {
        check_refused(stream, fill, {"Fill on a stream of GPU 1, while this thread uses GPU 0"});
        GpuEvent event;
        BOOST_CHECK_THROW(event.record(stream.stream()), EmulationError);
        use_gpu(1);
        kernels::launch(stream.stream(), fill);
    }).join();
    stream.synchronize();
    use_gpu(0);
    unsetenv("SLUICE_EMULATED_GPUS");
}

BOOST_AUTO_TEST_SUITE_END()
