// Products of bfloat16, one call of oneDNN per tile. A tile adds up in float32 and is rounded once,
// with alpha and the addend, when it is stored.
#include "layers/kernels/cpu/bf16_product.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/cpu/matmul_tiles.hpp"
#include "layers/kernels/element_types.hpp"

namespace sluice::kernels {

namespace {

constexpr std::int64_t max_rows = max_product_rows, max_columns = max_product_columns;

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
dnnl_status_t compute(const Matmul& op, const MatmulExtents& e, const Bf16Factor& a,
                      const Bf16Factor& b, const Tile& tile)
{
    alignas(64) float sums[max_rows * max_columns];
    const dnnl_status_t status =
        multiply_bf16_block(a.from(tile.row), b.from(tile.column),
                            {tile.rows, tile.columns, tile.depth}, OntoSums::no, sums, max_columns);
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
    const Bf16Factor a{op.a.as<BFloat16>(), a_transposed ? e.m : e.k, a_transposed};
    const Bf16Factor b{op.b.as<BFloat16>(), b_transposed ? e.k : e.n, !b_transposed};
    const TileGrid grid =
        TileGrid{std::min(e.m, max_rows), std::min(e.n, max_columns)}.halved_until_enough(e);
    with_type_of(op.out, [&]<class Out>(Type<Out>) {
        for_each_tile(e, grid, e.k, "dnnl_gemm_bf16bf16f32",
                      [&](const Tile& tile) { return compute<Out>(op, e, a, b, tile); });
    });
}

} // namespace sluice::kernels
