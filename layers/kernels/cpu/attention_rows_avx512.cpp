// Of x86-64 processors alone; elsewhere wide_lanes_absent.cpp stands in. exp and rounding are
// those of lanes.hpp, step by step.
#include "layers/kernels/cpu/attention_rows.hpp"

#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>
#include <immintrin.h>
#include <limits>

#define SLUICE_WIDE [[gnu::target("avx512f")]]

namespace sluice::kernels {

namespace {

/// With a mask, even of all lanes, GCC 12 finds nothing uninitialized in its own header.
constexpr __mmask16 all_lanes = 0xffff;

SLUICE_WIDE inline __m512 wide(float x) { return _mm512_set1_ps(x); }

/// As exp() of eight lanes.
SLUICE_WIDE inline __m512 exp(__m512 x)
{
    const __m512 round_to_integer = wide(12582912.0F);
    const __m512 bounded = _mm512_maskz_min_ps(all_lanes, wide(88.0F), x); // x where it is NaN
    const __m512 shifted = _mm512_fmadd_ps(bounded, wide(1.44269504F), round_to_integer);
    const __m512 n = _mm512_sub_ps(shifted, round_to_integer);
    __m512 r = _mm512_fmadd_ps(n, wide(-0.693359375F), bounded);
    r = _mm512_fmadd_ps(n, wide(2.12194440e-4F), r);

    __m512 p = _mm512_fmadd_ps(wide(1.9875691500e-4F), r, wide(1.3981999507e-3F));
    p = _mm512_fmadd_ps(p, r, wide(8.3334519073e-3F));
    p = _mm512_fmadd_ps(p, r, wide(4.1665795894e-2F));
    p = _mm512_fmadd_ps(p, r, wide(1.6666665459e-1F));
    p = _mm512_fmadd_ps(p, r, wide(5.0000001201e-1F));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), wide(1.0F));

    const __m512i exponent = _mm512_maskz_slli_epi32(
        all_lanes, _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127)), 23);
    const __mmask16 not_too_low = _mm512_cmp_ps_mask(x, wide(-87.33F), _CMP_NLT_UQ);
    return _mm512_maskz_mul_ps(not_too_low, p, _mm512_castsi512_ps(exponent));
}

/// As store() of eight lanes.
SLUICE_WIDE inline void store(BFloat16* to, __m512 x)
{
    const __m512i bits = _mm512_castps_si512(x),
                  upper = _mm512_maskz_srli_epi32(all_lanes, bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_maskz_srli_epi32(
        all_lanes, _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    const __m512i halves =
        _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), upper,
                             _mm512_set1_epi32(0x40)); // NaNs stay NaNs
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_maskz_cvtepi32_epi16(all_lanes, halves));
}

/// The lanes from `key` on that are below `end`.
__mmask16 below(std::int64_t key, std::int64_t end)
{
    const std::int64_t count = std::clamp<std::int64_t>(end - key, 0, num_wide_lanes);
    return static_cast<__mmask16>((1U << count) - 1U);
}

SLUICE_WIDE inline float sum_of(__m512 x)
{
    Lanes halves[2];
    std::memcpy(halves, &x, sizeof x);
    return sum(halves[0] + halves[1]);
}

} // namespace

SLUICE_WIDE RowSum softmax_row(const ScoreRow& row, float old_maximum, BFloat16* weights)
{
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    __m512 largest = wide(lowest);
    for (std::int64_t key = 0; key < row.visible; key += num_wide_lanes)
        largest = _mm512_maskz_max_ps( // `largest` where a score is NaN
            all_lanes,
            _mm512_mask_loadu_ps(wide(lowest), below(key, row.visible), row.scores + key), largest);
    float maxima[num_wide_lanes];
    _mm512_storeu_ps(maxima, largest);
    const float maximum =
        std::max(old_maximum, row.scale * *std::max_element(maxima, maxima + num_wide_lanes));

    __m512 sums = _mm512_setzero_ps();
    for (std::int64_t key = 0; key < row.num_keys; key += num_wide_lanes) {
        const __m512 score = _mm512_loadu_ps(row.scores + key);
        const __m512 weight = _mm512_maskz_mov_ps(
            below(key, row.visible),
            exp(_mm512_sub_ps(_mm512_mul_ps(wide(row.scale), score), wide(maximum))));
        sums = _mm512_add_ps(sums, weight);
        store(weights + key, weight);
    }
    return {maximum, sum_of(sums)};
}

SLUICE_WIDE void score_gradient_row(const ScoreRow& row, const RowGradient& gradient, BFloat16* p,
                                    BFloat16* ds)
{
    for (std::int64_t key = 0; key < row.num_keys; key += num_wide_lanes) {
        const __mmask16 visible = below(key, row.visible);
        const __m512 score = _mm512_loadu_ps(row.scores + key);
        const __m512 weight =
            exp(_mm512_sub_ps(_mm512_mul_ps(wide(row.scale), score), wide(gradient.logsumexp)));
        const __m512 dp = _mm512_loadu_ps(gradient.dp + key);
        store(p + key, _mm512_maskz_mov_ps(visible, weight));
        store(ds + key,
              _mm512_maskz_mul_ps(visible, weight, _mm512_sub_ps(dp, wide(gradient.row_dot))));
    }
}

} // namespace sluice::kernels
