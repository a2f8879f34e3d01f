// Of x86-64 processors alone; elsewhere wide_lanes_absent.cpp stands in.
#include "layers/kernels/cpu/attention_strips.hpp"

#include <immintrin.h>

namespace sluice::kernels {

static_assert(panel_width == num_wide_lanes, "a panel is one register wide");

[[gnu::target("avx512f")]] void multiply_two_panels(Start start, const StripFactors& a,
                                                    const PanelFactors& b, std::int64_t depth,
                                                    float* c, std::int64_t c_stride)
{
    __m512 sums[strip_height][2];
#pragma GCC unroll 6
    for (int row = 0; row < strip_height; ++row) {
        const float* c_row = c + row * c_stride;
        sums[row][0] = start == Start::sum ? _mm512_loadu_ps(c_row) : _mm512_setzero_ps();
        sums[row][1] =
            start == Start::sum ? _mm512_loadu_ps(c_row + num_wide_lanes) : _mm512_setzero_ps();
    }
    const float* factor = a.data;
    const float* panel_row = b.data;
    for (std::int64_t k = 0; k < depth; ++k) {
        const __m512 left = _mm512_loadu_ps(panel_row);
        const __m512 right = _mm512_loadu_ps(panel_row + b.panel_stride);
#pragma GCC unroll 6
        for (int row = 0; row < strip_height; ++row) {
            const __m512 x = _mm512_set1_ps(factor[row * a.row_stride]);
            sums[row][0] = _mm512_fmadd_ps(x, left, sums[row][0]);
            sums[row][1] = _mm512_fmadd_ps(x, right, sums[row][1]);
        }
        factor += a.depth_stride;
        panel_row += b.depth_stride;
    }
#pragma GCC unroll 6
    for (int row = 0; row < strip_height; ++row) {
        float* c_row = c + row * c_stride;
        _mm512_storeu_ps(c_row, sums[row][0]);
        _mm512_storeu_ps(c_row + num_wide_lanes, sums[row][1]);
    }
}

} // namespace sluice::kernels
