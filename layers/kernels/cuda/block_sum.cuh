// A sum over a block's threads, for kernels that add up one tensor: each block its part, then one
// block the parts.
#pragma once

#include "layers/kernels/cuda/device_language.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int sum_threads = 256;
inline constexpr std::int64_t max_sum_parts = 1024;

template <class T>
struct SumsOfWarps {
    T of_warp[sum_threads / warp_size];
};

/// The sum over the block's threads, on thread 0. The block's shared memory is SumsOfWarps<T>.
template <class T>
SLUICE_DEVICE T block_sum(T value)
{
    auto& shared = shared_memory<SumsOfWarps<T>>();
    const T sum = warp_sum(value);
    if (lane() == 0)
        shared.of_warp[warp()] = sum;
    barrier();
    T total{};
    if (thread() == 0)
        for (int i = 0; i < sum_threads / warp_size; ++i)
            total += shared.of_warp[i];
    return total;
}

/// On thread 0.
template <class T>
SLUICE_DEVICE T sum_of_parts(const T* parts, std::int64_t num_parts)
{
    T sum{};
    for (std::int64_t i = thread(); i < num_parts; i += sum_threads)
        sum += parts[i];
    return block_sum(sum);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
