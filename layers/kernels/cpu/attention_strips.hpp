// The innermost products of attention: a strip of rows times panels of columns. With AVX-512 two
// panels go through the registers at once, to the same bits: every element adds its terms one by
// one, k ascending, each by one fused multiply-add.
#pragma once

#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/cpu/wide_lanes.hpp"

#include <cstdint>

namespace sluice::kernels {

inline constexpr std::int64_t panel_width = 2 * num_lanes; ///< columns of a panel
inline constexpr std::int64_t strip_height = 6;            ///< rows of a strip

/// A strip's factors: element (row, k) is data[row * row_stride + k * depth_stride].
struct StripFactors {
    const float* data;
    std::int64_t row_stride, depth_stride;
};

/// The other factors: column c of panel p in row k is data[k * depth_stride + p * panel_stride +
/// c].
struct PanelFactors {
    const float* data;
    std::int64_t depth_stride, panel_stride;
    PanelFactors from(std::int64_t panel) const
    {
        return {data + panel * panel_stride, depth_stride, panel_stride};
    }
};

enum class Start : bool { zero, sum };

/// c[row][column] (+)= sum over k of a(row, k) b(k, column) for one panel.
/// Out of line, so that its twelve sums and its addresses get all the registers.
template <Start start>
[[gnu::noinline]] void multiply_one_panel(const StripFactors& a, const PanelFactors& b,
                                          std::int64_t depth, float* c, std::int64_t c_stride)
{
    Lanes sums[strip_height][2];
#pragma GCC unroll 6
    for (int row = 0; row < strip_height; ++row) {
        const float* c_row = c + row * c_stride;
        sums[row][0] = start == Start::sum ? load(c_row) : Lanes{};
        sums[row][1] = start == Start::sum ? load(c_row + num_lanes) : Lanes{};
    }
    const float* factor = a.data;
    const float* panel_row = b.data;
    for (std::int64_t k = 0; k < depth; ++k) {
        const Lanes left = load(panel_row), right = load(panel_row + num_lanes);
#pragma GCC unroll 6
        for (int row = 0; row < strip_height; ++row) {
            const Lanes x = broadcast(factor[row * a.row_stride]);
            sums[row][0] = fma(x, left, sums[row][0]);
            sums[row][1] = fma(x, right, sums[row][1]);
        }
        factor += a.depth_stride;
        panel_row += b.depth_stride;
    }
#pragma GCC unroll 6
    for (int row = 0; row < strip_height; ++row) {
        float* c_row = c + row * c_stride;
        store(c_row, sums[row][0]);
        store(c_row + num_lanes, sums[row][1]);
    }
}

/// The same for two panels, where panels_at_once() says so (attention_strips_avx512.cpp).
void multiply_two_panels(Start start, const StripFactors& a, const PanelFactors& b,
                         std::int64_t depth, float* c, std::int64_t c_stride);

inline std::int64_t panels_at_once() { return has_wide_lanes() ? 2 : 1; }

/// For `num_panels` neighbouring panels: c[row][p * panel_width + column].
template <Start start>
inline void multiply_strip(const StripFactors& a, const PanelFactors& b, std::int64_t num_panels,
                           std::int64_t depth, float* c, std::int64_t c_stride)
{
    std::int64_t panel = 0;
    if (panels_at_once() == 2)
        for (; panel + 2 <= num_panels; panel += 2)
            multiply_two_panels(start, a, b.from(panel), depth, c + panel * panel_width, c_stride);
    for (; panel < num_panels; ++panel)
        multiply_one_panel<start>(a, b.from(panel), depth, c + panel * panel_width, c_stride);
}

} // namespace sluice::kernels
