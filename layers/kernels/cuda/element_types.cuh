// What a launch asks about tensors.
#pragma once

#include "layers/kernels/cuda/device_language.cuh"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/factor.hpp"

#include <bit>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// Elements of one thread's access: 16 bytes of bfloat16, twice 16 of float32.
inline constexpr int chunk = 8;

/// Of a chunk's elements, in pairs: short chains, and the same bits everywhere.
template <class Elements>
SLUICE_DEVICE auto chunk_sum(const Elements& e)
{
    return ((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7]));
}

/// Whether every chunk of rows of `row_length` elements in these tensors is aligned to its size.
template <class... Tensors>
bool chunks_aligned(std::int64_t row_length, const Tensors&... tensors)
{
    const auto aligned = [](const TensorView& tensor) {
        return std::bit_cast<std::uintptr_t>(tensor.data) % (chunk * size_of(tensor.dtype)) == 0;
    };
    return row_length % chunk == 0 && (aligned(tensors) && ...);
}

/// A Factor as kernels take it.
struct FactorOnGpu {
    float value;
    const float* memory; ///< read instead of `value`, or null

    SLUICE_DEVICE float read() const { return memory != nullptr ? *memory : value; }
};

inline FactorOnGpu factor_on_gpu(const Factor& factor)
{
    return {static_cast<float>(factor.value),
            factor.memory.empty() ? nullptr : factor.memory.as<float>()};
}

inline std::int64_t blocks_for(std::int64_t count, std::int64_t per_block)
{
    return (count + per_block - 1) / per_block;
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
