// Products of tiles that live in cache, for attention. Single-threaded; the order of additions along
// the inner dimension is ascending, whatever the tile.
#pragma once

#include <cmath>
#include <cstdint>

namespace sluice::kernels {

/// c[m,n] (+)= sum over k of a[m,k] b[k,n]; a's element (m,k) is at a[m * a_row + k * a_column], b and c
/// are row-major with leading dimensions b_row and c_row. M is a multiple of 4, N of 16.
enum class Accumulate : bool { no, yes };

template <Accumulate accumulate>
inline void small_gemm(std::int64_t M, std::int64_t N, std::int64_t K, const float* a,
                       std::int64_t a_row, std::int64_t a_column, const float* b,
                       std::int64_t b_row, float* c, std::int64_t c_row)
{
    constexpr int rows = 4, columns = 16;
    for (std::int64_t n = 0; n < N; n += columns)
        for (std::int64_t m = 0; m < M; m += rows) {
            float sum[rows][columns];
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < columns; ++j)
                    sum[i][j] = accumulate == Accumulate::yes ? c[(m + i) * c_row + n + j] : 0.0f;
            for (std::int64_t k = 0; k < K; ++k) {
                const float* b_k = b + k * b_row + n;
                const float* a_k = a + m * a_row + k * a_column;
                for (int i = 0; i < rows; ++i) {
                    const float factor = a_k[i * a_row];
                    for (int j = 0; j < columns; ++j)
                        sum[i][j] = std::fma(factor, b_k[j], sum[i][j]);
                }
            }
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < columns; ++j)
                    c[(m + i) * c_row + n + j] = sum[i][j];
        }
}

} // namespace sluice::kernels
