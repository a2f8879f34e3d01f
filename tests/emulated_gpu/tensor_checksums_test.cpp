// Checksums on a GPU: of what a tensor holds at their place in the stream, whenever the host looks.
#include "pipeline/tensor_checksums.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "layers/kernels/checksum.hpp"
#include "layers/kernels/elementwise.hpp"

#include <boost/test/unit_test.hpp>
#include <vector>

using namespace sluice;

namespace {

constexpr std::int64_t n = 3000;

std::uint64_t checksum_of_all(float value)
{
    std::vector<float> values(n, value);
    double sum = -1.0;
    kernels::launch(
        Stream{.backend = Backend::reference},
        kernels::Checksum{.x = view_of(values.data(), {n}), .result = view_of(&sum, {1})});
    return static_cast<std::uint64_t>(sum);
}

} // namespace

BOOST_AUTO_TEST_SUITE(tensor_checksums)

BOOST_AUTO_TEST_CASE(in_the_order_of_the_stream)
{
    const ComputeStream compute(Stream{.backend = Backend::cuda, .device = use_gpu(0)});
    const Stream& stream = compute.stream();
    Arena arena(aligned_bytes(n * sizeof(float)), stream.device);
    const TensorView x = arena.allocate(DType::f32, {n});
    TensorChecksums checksums(stream, 2, 3);
    const auto fill = [&](double value) {
        kernels::launch(stream, kernels::Fill{.to = x, .value = value});
    };
    // More updates than the ring to the host has rows.
    for (int update = 0; update < 20; ++update) {
        const auto first = static_cast<float>(update + 1), second = first + 0.5F;
        checksums.clear();
        fill(first);
        checksums.add(0, x, 1);
        fill(second);
        checksums.add(1, x, 3);
        checksums.add(0, x, 5);
        fill(0.0);
        checksums.send();
        if (update % 3 == 1) // not looked at
            continue;
        BOOST_TEST(checksums.sums()[0] == checksum_of_all(first) + 5 * checksum_of_all(second));
        BOOST_TEST(checksums.sums()[1] == 3 * checksum_of_all(second));
    }
}

BOOST_AUTO_TEST_SUITE_END()
