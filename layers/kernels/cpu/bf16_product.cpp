#include "layers/kernels/cpu/bf16_product.hpp"

#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>

// Exported by every oneDNN from 1.0 on, for its own tests, and declared in none of its headers. Its
// matmul primitive would do the same work with an object per shape and thread.
extern "C" dnnl_status_t DNNL_API dnnl_gemm_bf16bf16f32(
    char transpose_a, char transpose_b, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha,
    const sluice::BFloat16* a, dnnl_dim_t a_stride, const sluice::BFloat16* b, dnnl_dim_t b_stride,
    float beta, float* c, dnnl_dim_t c_stride);

namespace sluice::kernels {

namespace {

/// The library multiplies without AMX where alpha is not 1 (measured at K = 512: 155 instead of 640
/// GFLOP/s), so factors are left to whoever reads the sums.
constexpr float alpha = 1.0F;
/// The widened factors, in steps of K.
constexpr std::int64_t widened_depth = 128;
/// Not a power of two: such strides collide in the first cache.
constexpr std::int64_t padding = 16;

bool has(dnnl_cpu_isa_t instructions)
{
    return (dnnl_get_effective_cpu_isa() & instructions) == instructions;
}

bool has_bf16_instructions()
{
    static const bool there = has(dnnl_cpu_isa_avx512_core_bf16);
    return there;
}

char a_letter(const Bf16Factor& a) { return a.k_major ? 'T' : 'N'; }
char b_letter(const Bf16Factor& b) { return b.k_major ? 'N' : 'T'; }
float beta_of(OntoSums onto) { return onto == OntoSums::yes ? 1.0F : 0.0F; }

/// `count` rows or columns and `depth` of K from `k` on, to `piece`. Returns the piece's stride.
std::int64_t widen(const Bf16Factor& factor, std::int64_t count, std::int64_t k, std::int64_t depth,
                   float* piece)
{
    const std::int64_t rows = factor.k_major ? depth : count;
    const std::int64_t columns = factor.k_major ? count : depth;
    const std::int64_t stride = columns + padding;
    for (std::int64_t row = 0; row < rows; ++row) {
        const BFloat16* from = factor.at(0, k) + row * factor.stride;
        for_each_chunk(columns, [&](std::int64_t c, auto lanes) {
            store(piece + row * stride + c, load(from + c, lanes), lanes);
        });
    }
    return stride;
}

dnnl_status_t multiply_widened(const Bf16Factor& a, const Bf16Factor& b,
                               const ProductExtents& extents, OntoSums onto, float* sums,
                               std::int64_t stride)
{
    alignas(64) float a_piece[(max_product_rows + padding) * (widened_depth + padding)];
    alignas(64) float b_piece[(max_product_columns + padding) * (widened_depth + padding)];
    for (std::int64_t k = 0; k < extents.depth; k += widened_depth) {
        const std::int64_t depth = std::min(widened_depth, extents.depth - k);
        const std::int64_t a_stride = widen(a, extents.rows, k, depth, a_piece);
        const std::int64_t b_stride = widen(b, extents.columns, k, depth, b_piece);
        const dnnl_status_t status = dnnl_sgemm(
            a_letter(a), b_letter(b), extents.rows, extents.columns, depth, alpha, a_piece,
            a_stride, b_piece, b_stride, k > 0 ? 1.0F : beta_of(onto), sums, stride);
        if (status != dnnl_success)
            return status;
    }
    return dnnl_success;
}

} // namespace

bool has_fast_bf16_products()
{
    static const bool there = has(dnnl_cpu_isa_avx512_core_amx);
    return there;
}

dnnl_status_t multiply_bf16_block(const Bf16Factor& a, const Bf16Factor& b,
                                  const ProductExtents& extents, OntoSums onto, float* sums,
                                  std::int64_t stride)
{
    if (!has_bf16_instructions())
        return multiply_widened(a, b, extents, onto, sums, stride);
    return dnnl_gemm_bf16bf16f32(a_letter(a), b_letter(b), extents.rows, extents.columns,
                                 extents.depth, alpha, a.data, a.stride, b.data, b.stride,
                                 beta_of(onto), sums, stride);
}

} // namespace sluice::kernels
