// Two steps: every block adds the squares of its run of one tensor's elements, then one block for
// each tensor adds its parts. How a tensor is cut follows from the number of its elements alone, so
// the bits are the same on any GPU and whatever else is added up at once.
#pragma once

#include "layers/kernels/cuda/block_sum.cuh"
#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int sum_loads = 4; // of a thread, at once

/// Which blocks work on which tensor.
struct BlocksOfTensors {
    static constexpr int most = SumOfSquares::most_tensors;
    int first[most + 1]; // of each tensor, then one past the last
    int count;           // of tensors

    SLUICE_DEVICE int tensor_of(std::int64_t block) const
    {
        int tensor = 0;
        while (tensor + 1 < count && block >= first[tensor + 1])
            ++tensor;
        return tensor;
    }
};

template <class T>
struct SquaresKernel {
    // Without min_blocks the compiler aims at so few registers that two of the loads wait.
    static constexpr int num_threads = sum_threads, min_blocks = 4;
    struct Tensor {
        const T* x; // [n]
        std::int64_t n, run_length;
        bool aligned;
    };
    Tensor tensors[BlocksOfTensors::most];
    BlocksOfTensors blocks;
    double* parts; // [blocks]

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
        const int tensor = blocks.tensor_of(block_x());
        const auto& [x, n, run_length, aligned] = tensors[tensor];
        const std::int64_t begin = (block_x() - blocks.first[tensor]) * run_length;
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
    const double* parts; // [blocks]
    double* results;     // [tensors]
    BlocksOfTensors blocks;

    SLUICE_DEVICE void operator()() const
    {
        const int first = blocks.first[block_x()];
        const double sum = sum_of_parts(parts + first, blocks.first[block_x() + 1] - first);
        if (thread() == 0)
            results[block_x()] = sum;
    }
};

/// Of each block, in elements.
inline std::int64_t run_length_of(std::int64_t n)
{
    const std::int64_t pass = std::int64_t{sum_threads} * sum_loads * chunk;
    return std::max<std::int64_t>(1, blocks_for(blocks_for(n, max_sum_parts), pass)) * pass;
}

template <class Launcher>
void launch_sum_of_squares(const Launcher& launcher, const SumOfSquares& op)
{
    BlocksOfTensors blocks{.first = {}, .count = static_cast<int>(extents_of(op))};
    for (int i = 0; i < blocks.count; ++i) {
        const std::int64_t n = op.x[static_cast<std::size_t>(i)].num_elements();
        blocks.first[i + 1] = blocks.first[i] + static_cast<int>(blocks_for(n, run_length_of(n)));
    }
    double* parts = launcher.template workspace<double>(max_sum_parts * BlocksOfTensors::most);
    constexpr std::size_t shared_bytes = sizeof(SumsOfWarps<double>);
    with_type_of(op.x.front(), [&]<class T>(Type<T>) {
        SquaresKernel<T> kernel{.tensors = {}, .blocks = blocks, .parts = parts};
        for (int i = 0; i < blocks.count; ++i) {
            const TensorView& x = op.x[static_cast<std::size_t>(i)];
            kernel.tensors[i] = {.x = x.as<T>(),
                                 .n = x.num_elements(),
                                 .run_length = run_length_of(x.num_elements()),
                                 .aligned = chunks_aligned(chunk, x)};
        }
        launcher(kernel, Grid{blocks.first[blocks.count]}, shared_bytes);
    });
    launcher(SumOfPartsKernel{.parts = parts, .results = op.results.as<double>(), .blocks = blocks},
             Grid{blocks.count}, shared_bytes);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
