#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <array>

namespace sluice::kernels {

namespace {

constexpr int num_wide_lanes = num_lanes / 2;
using WideLanes = double __attribute__((vector_size(num_wide_lanes * sizeof(double))));

/// sums += the squares of eight floats; exact, since 24 + 24 bits fit in 53.
void add_squares(const Lanes& lanes, WideLanes& even, WideLanes& odd)
{
    const WideLanes low = {lanes[0], lanes[1], lanes[2], lanes[3]};
    const WideLanes high = {lanes[4], lanes[5], lanes[6], lanes[7]};
    even += low * low;
    odd += high * high;
}

template <class T>
double sum_of_squares(const T* x, std::int64_t n)
{
    WideLanes sums[4] = {};
    std::int64_t i = 0;
    for (; i + 2 * num_lanes <= n; i += 2 * num_lanes) {
        add_squares(load(x + i), sums[0], sums[1]);
        add_squares(load(x + i + num_lanes), sums[2], sums[3]);
    }
    for_each_chunk(n - i, [&](std::int64_t first, auto count) {
        add_squares(load(x + i + first, count), sums[0], sums[1]);
    });
    const WideLanes s = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    return (s[0] + s[2]) + (s[1] + s[3]);
}

template <class T>
double sum_in_blocks(const TensorView& tensor)
{
    // At most 256 blocks whose length follows from the element count alone.
    constexpr std::int64_t max_blocks = 256, min_block = 4096;
    const T* x = tensor.as<T>();
    const std::int64_t n = tensor.num_elements();
    const std::int64_t block = std::max(min_block, (n + max_blocks - 1) / max_blocks);
    const std::int64_t num_blocks = (n + block - 1) / block;
    std::array<double, max_blocks> parts;
    parallel_for(num_blocks, [&](std::int64_t i) {
        parts[static_cast<std::size_t>(i)] =
            sum_of_squares(x + i * block, std::min(block, n - i * block));
    });
    double total = 0.0;
    for (std::int64_t i = 0; i < num_blocks; ++i)
        total += parts[static_cast<std::size_t>(i)];
    return total;
}

} // namespace

void run(Cpu, const SumOfSquares& op)
{
    const std::int64_t count = extents_of(op);
    with_type_of(op.x.front(), [&]<class T>(Type<T>) {
        for (std::int64_t i = 0; i < count; ++i)
            op.results.as<double>()[i] = sum_in_blocks<T>(op.x[static_cast<std::size_t>(i)]);
    });
}

} // namespace sluice::kernels
