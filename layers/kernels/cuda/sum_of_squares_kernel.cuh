// Two steps: every block adds the squares of its run of elements, then one block adds the parts.
// How elements are cut follows from their number alone, so the bits are the same on any GPU.
#pragma once

#include "layers/kernels/cuda/block_sum.cuh"
#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int sum_loads = 4; // of a thread, at once

template <class T>
struct SquaresKernel {
    // Without min_blocks the compiler aims at so few registers that two of the loads wait.
    static constexpr int num_threads = sum_threads, min_blocks = 4;
    const T* x;    // [n]
    double* parts; // [blocks]
    std::int64_t n, run_length;
    bool aligned;

    SLUICE_DEVICE static void add_squares(double (&sums)[chunk], const Floats<chunk>& floats)
    {
        for (int j = 0; j < chunk; ++j) {
            const double value = floats[j];
            sums[j] = fma(value, value, sums[j]); // exact squares: 24 + 24 bits fit in 53
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        constexpr int at_once = sum_loads, stride = num_threads * chunk;
        const std::int64_t begin = block_x() * run_length;
        const std::int64_t end = begin + run_length < n ? begin + run_length : n;
        double sums[chunk] = {};
        std::int64_t i = begin + thread() * chunk;
        for (; aligned && i + (at_once - 1) * stride + chunk <= end; i += at_once * stride) {
            Vector<T, chunk> vectors[at_once];
            SLUICE_UNROLL
            for (int k = 0; k < at_once; ++k)
                vectors[k] = load_vector<chunk>(x + i + k * stride);
            SLUICE_UNROLL
            for (int k = 0; k < at_once; ++k)
                add_squares(sums, floats_of(vectors[k]));
        }
        for (; i < end; i += stride)
            add_squares(sums, load_floats<chunk>(x + i, end - i, aligned));
        const double sum = chunk_sum(sums);
        const double total = block_sum(sum);
        if (thread() == 0)
            parts[block_x()] = total;
    }
};

struct SumOfPartsKernel {
    static constexpr int num_threads = sum_threads;
    const double* parts; // [num_parts]
    double* result;      // [1]
    std::int64_t num_parts;

    SLUICE_DEVICE void operator()() const
    {
        const double sum = sum_of_parts(parts, num_parts);
        if (thread() == 0)
            result[0] = sum;
    }
};

template <class Launcher>
void launch_sum_of_squares(const Launcher& launcher, const SumOfSquares& op)
{
    const std::int64_t n = op.x.num_elements();
    const std::int64_t pass = std::int64_t{sum_threads} * sum_loads * chunk;
    const std::int64_t run_length =
        std::max<std::int64_t>(1, blocks_for(blocks_for(n, max_sum_parts), pass)) * pass;
    const std::int64_t num_parts = blocks_for(n, run_length);
    double* parts = launcher.template workspace<double>(max_sum_parts);
    constexpr std::size_t shared_bytes = sizeof(SumsOfWarps<double>);
    with_type_of(op.x, [&]<class T>(Type<T>) {
        launcher(SquaresKernel<T>{.x = op.x.as<T>(),
                                  .parts = parts,
                                  .n = n,
                                  .run_length = run_length,
                                  .aligned = chunks_aligned(chunk, op.x)},
                 Grid{num_parts}, shared_bytes);
    });
    launcher(
        SumOfPartsKernel{.parts = parts, .result = op.result.as<double>(), .num_parts = num_parts},
        Grid{1}, shared_bytes);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
