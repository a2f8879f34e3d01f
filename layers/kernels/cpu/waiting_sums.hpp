#pragma once

#include "core/bfloat16.hpp"
#include "layers/kernels/cpu/head_rows.hpp"

#include <bit>
#include <cstdint>

namespace sluice::kernels {

/// Sums in float32, [row][stride], in the place of two rows of bfloat16: the upper halves of their
/// bits and the lower ones.
struct WaitingSums {
    HeadRows<BFloat16> upper, lower;

    void put(const float* sums, std::int64_t stride, std::int64_t num_rows,
             std::int64_t head_dim) const
    {
        for (std::int64_t row = 0; row < num_rows; ++row)
            for (std::int64_t c = 0; c < head_dim; ++c) {
                const auto bits = std::bit_cast<std::uint32_t>(sums[row * stride + c]);
                upper[row][c].bits = static_cast<std::uint16_t>(bits >> 16);
                lower[row][c].bits = static_cast<std::uint16_t>(bits);
            }
    }
    void get(std::int64_t num_rows, std::int64_t head_dim, float* sums, std::int64_t stride) const
    {
        for (std::int64_t row = 0; row < num_rows; ++row)
            for (std::int64_t c = 0; c < head_dim; ++c)
                sums[row * stride + c] = std::bit_cast<float>(
                    static_cast<std::uint32_t>(upper[row][c].bits) << 16 | lower[row][c].bits);
    }
};

} // namespace sluice::kernels
