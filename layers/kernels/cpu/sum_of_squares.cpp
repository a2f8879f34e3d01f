#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <array>

namespace sluice::kernels {

namespace {

using DoubleLanes = double __attribute__((vector_size(num_lanes * sizeof(double))));

double sum_of_squares(const float* x, std::int64_t n)
{
    DoubleLanes sums[2] = {};
    const auto add = [](DoubleLanes& to, const Lanes& lanes) {
        const DoubleLanes wide = __builtin_convertvector(lanes, DoubleLanes);
        to += wide * wide; // exact product: 24 + 24 bits fit in 53
    };
    std::int64_t i = 0;
    for (; i + 2 * num_lanes <= n; i += 2 * num_lanes) {
        add(sums[0], load(x + i));
        add(sums[1], load(x + i + num_lanes));
    }
    for_each_chunk(
        n - i, [&](std::int64_t first, auto count) { add(sums[0], load(x + i + first, count)); });
    const DoubleLanes s = sums[0] + sums[1];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

} // namespace

void run(Cpu, const SumOfSquares& op)
{
    // At most 256 blocks whose length follows from the element count alone.
    constexpr std::int64_t max_blocks = 256, min_block = 4096;
    const float* x = op.x.as<float>();
    const std::int64_t n = op.x.num_elements();
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
    op.result.as<double>()[0] = total;
}

} // namespace sluice::kernels
