// bfloat16: the upper half of a float32. Stored, converted, never computed with.
#pragma once

#include "core/dtype.hpp"

#include <bit>
#include <cstdint>

namespace sluice {

struct BFloat16 {
    std::uint16_t bits;
};

template <>
constexpr DType dtype_of<BFloat16>()
{
    return DType::bf16;
}

/// Exact.
constexpr float float_of(BFloat16 value)
{
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Rounds to nearest, ties to even; what is too large becomes infinity, NaN stays NaN (quiet).
constexpr BFloat16 bfloat16_of(float value)
{
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffU) > 0x7f800000U)
        return {static_cast<std::uint16_t>(bits >> 16 | 0x40U)};
    return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}

} // namespace sluice
