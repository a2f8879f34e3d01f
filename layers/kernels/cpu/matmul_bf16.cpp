// Products of bfloat16, one call of oneDNN per tile: its bf16 product where the processor has
// instructions for it (AVX512_BF16, AMX), its sgemm on factors widened to float32 elsewhere. A tile
// adds up in float32 and is rounded once, with alpha and the addend, when it is stored.
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/cpu/matmul_tiles.hpp"
#include "layers/kernels/element_types.hpp"

// Exported by every oneDNN from 1.0 on, for its own tests, and declared in none of its headers. Its
// matmul primitive would do the same work with an object per shape and thread.
extern "C" dnnl_status_t DNNL_API dnnl_gemm_bf16bf16f32(
    char transpose_a, char transpose_b, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k, float alpha,
    const sluice::BFloat16* a, dnnl_dim_t a_stride, const sluice::BFloat16* b, dnnl_dim_t b_stride,
    float beta, float* c, dnnl_dim_t c_stride);

namespace sluice::kernels {

namespace {

constexpr std::int64_t max_rows = 256, max_columns = 512;
/// The widened factors of a tile, in steps of K.
constexpr std::int64_t widened_depth = 128;
/// Not a power of two: such strides collide in the first cache.
constexpr std::int64_t padding = 16;

/// a or b, whose rows or columns go along the result's.
struct Factor {
    const BFloat16* data;
    std::int64_t stride;
    bool k_major; ///< stored with K over the rows: a transposed, b as it is

    const BFloat16* at(std::int64_t along, std::int64_t k) const
    {
        return data + (k_major ? k * stride + along : along * stride + k);
    }
};

struct Product {
    Factor a, b;
    char a_letter() const { return a.k_major ? 'T' : 'N'; }
    char b_letter() const { return b.k_major ? 'N' : 'T'; }
};

bool has_bf16_instructions()
{
    static const bool has = (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
                            dnnl_cpu_isa_avx512_core_bf16;
    return has;
}

/// sums [rows][max_columns] = a b of one tile. Alpha is left to store_tile(): the library
/// multiplies without AMX where it is not 1 (measured: 155 instead of 640 GFLOP/s at K = 512).
dnnl_status_t multiply(const Product& product, const Tile& tile, float* sums)
{
    const auto& [a, b] = product;
    return dnnl_gemm_bf16bf16f32(product.a_letter(), product.b_letter(), tile.rows, tile.columns,
                                 tile.depth, 1.0F, a.at(tile.row, 0), a.stride,
                                 b.at(tile.column, 0), b.stride, 0.0F, sums, max_columns);
}

/// `count` rows or columns from `first` on and `depth` of K from `k` on, to `piece`. Returns the
/// piece's stride.
std::int64_t widen(const Factor& factor, std::int64_t first, std::int64_t count, std::int64_t k,
                   std::int64_t depth, float* piece)
{
    const std::int64_t rows = factor.k_major ? depth : count;
    const std::int64_t columns = factor.k_major ? count : depth;
    const std::int64_t stride = columns + padding;
    for (std::int64_t row = 0; row < rows; ++row) {
        const BFloat16* from = factor.at(first, k) + row * factor.stride;
        for_each_chunk(columns, [&](std::int64_t c, auto lanes) {
            store(piece + row * stride + c, load(from + c, lanes), lanes);
        });
    }
    return stride;
}

/// The same where the processor has no instructions for it.
dnnl_status_t multiply_widened(const Product& product, const Tile& tile, float* sums)
{
    alignas(64) float a[(max_rows + padding) * (widened_depth + padding)];
    alignas(64) float b[(max_columns + padding) * (widened_depth + padding)];
    for (std::int64_t k = 0; k < tile.depth; k += widened_depth) {
        const std::int64_t depth = std::min(widened_depth, tile.depth - k);
        const std::int64_t a_stride = widen(product.a, tile.row, tile.rows, k, depth, a);
        const std::int64_t b_stride = widen(product.b, tile.column, tile.columns, k, depth, b);
        const dnnl_status_t status =
            dnnl_sgemm(product.a_letter(), product.b_letter(), tile.rows, tile.columns, depth, 1.0F,
                       a, a_stride, b, b_stride, k > 0 ? 1.0F : 0.0F, sums, max_columns);
        if (status != dnnl_success)
            return status;
    }
    return dnnl_success;
}

template <class Out>
void store_tile(const Matmul& op, const MatmulExtents& e, const Tile& tile, const float* sums)
{
    const Out* addend = elements_or_null<Out>(op.addend);
    const auto alpha = static_cast<float>(op.alpha.on_host());
    const auto beta = static_cast<float>(op.beta);
    for (std::int64_t row = 0; row < tile.rows; ++row) {
        const std::int64_t at = (tile.row + row) * e.n + tile.column;
        const float* sum = sums + row * max_columns;
        Out* out = op.out.as<Out>() + at;
        for_each_chunk(tile.columns, [&](std::int64_t c, auto count) {
            Lanes lanes = alpha * load(sum + c, count);
            if (addend)
                lanes += beta * load(addend + at + c, count);
            store(out + c, lanes, count);
        });
    }
}

template <class Out>
dnnl_status_t compute(const Matmul& op, const MatmulExtents& e, const Product& product,
                      const Tile& tile)
{
    alignas(64) float sums[max_rows * max_columns];
    const dnnl_status_t status = has_bf16_instructions() ? multiply(product, tile, sums)
                                                         : multiply_widened(product, tile, sums);
    if (status == dnnl_success)
        store_tile<Out>(op, e, tile, sums);
    return status;
}

} // namespace

void multiply_bf16(const Matmul& op)
{
    const MatmulExtents e = extents_of(op);
    const bool a_transposed = op.transpose_a == Transpose::yes;
    const bool b_transposed = op.transpose_b == Transpose::yes;
    const Product product{.a = {op.a.as<BFloat16>(), a_transposed ? e.m : e.k, a_transposed},
                          .b = {op.b.as<BFloat16>(), b_transposed ? e.k : e.n, !b_transposed}};
    const TileGrid grid =
        TileGrid{std::min(e.m, max_rows), std::min(e.n, max_columns)}.halved_until_enough(e);
    with_type_of(op.out, [&]<class Out>(Type<Out>) {
        for_each_tile(e, grid, e.k, "dnnl_gemm_bf16bf16f32",
                      [&](const Tile& tile) { return compute<Out>(op, e, product, tile); });
    });
}

} // namespace sluice::kernels
