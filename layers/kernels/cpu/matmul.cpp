// Products of float32 by oneDNN's sgemm, one call per tile.
#include "layers/kernels/matmul.hpp"

#include "layers/kernels/cpu/matmul_tiles.hpp"

namespace sluice::kernels {

namespace {

/// K goes in steps whose rows of `b` stay in the last cache while every tile reads them.
constexpr std::int64_t max_depth = 4096;
/// An operand that sgemm would walk at a stride of whole rows (a transposed `a`, a plain `b`) is
/// copied in pieces: model widths are powers of two, and such strides collide in the first cache
/// (measured on Zen 3: 50 against 75 GFLOP/s).
constexpr std::int64_t piece_rows = 256, piece_columns = 256;
/// Floats between the rows of a piece: not a power of two, for the same reason.
constexpr std::int64_t piece_stride = piece_columns + 16;
using Piece = float[piece_rows * piece_stride];

void copy_piece(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                Piece& to)
{
    for (std::int64_t row = 0; row < rows; ++row)
        std::copy_n(from + row * stride, columns, to + row * piece_stride);
}

TileGrid grid_of(const MatmulExtents& e, Transpose transpose_a, Transpose transpose_b)
{
    constexpr std::int64_t max_columns = 2048;
    TileGrid grid{e.m, e.n};
    if (transpose_a == Transpose::yes)
        grid.rows = std::min(e.m, piece_columns);
    if (transpose_b == Transpose::no)
        grid.columns = std::min(e.n, piece_columns);
    while (grid.columns > max_columns)
        TileGrid::halve(grid.columns);
    return grid.halved_until_enough(e);
}

struct Product {
    MatmulExtents extents;
    const float *a, *b, *addend; ///< addend: null, `out` itself or another tensor
    float* out;
    bool a_transposed, b_transposed;
    float alpha, beta;
};

/// The factor of what `out` holds; copies an addend from elsewhere into the tile first.
float load_addend(const Product& product, const Tile& tile)
{
    if (tile.first_k > 0)
        return 1.0F; // what the earlier ranges of K gave
    if (product.addend && product.addend != product.out)
        for (std::int64_t row = tile.row; row < tile.row + tile.rows; ++row) {
            const std::int64_t at = row * product.extents.n + tile.column;
            std::copy_n(product.addend + at, tile.columns, product.out + at);
        }
    return product.addend ? product.beta : 0.0F;
}

dnnl_status_t compute(const Product& product, const Tile& tile)
{
    const auto [m, n, k] = product.extents;
    const bool copies_a = product.a_transposed, copies_b = !product.b_transposed;
    const std::int64_t step = copies_a || copies_b ? piece_rows : tile.depth;
    alignas(64) Piece a_piece;
    alignas(64) Piece b_piece;

    float factor = load_addend(product, tile);
    for (std::int64_t begin = 0; begin < tile.depth; begin += step) {
        const std::int64_t first = tile.first_k + begin;
        const std::int64_t depth = std::min(step, tile.depth - begin);
        const float* a = product.a + (copies_a ? first * m + tile.row : tile.row * k + first);
        const float* b = product.b + (copies_b ? first * n + tile.column : tile.column * k + first);
        if (copies_a)
            copy_piece(a, m, depth, tile.rows, a_piece);
        if (copies_b)
            copy_piece(b, n, depth, tile.columns, b_piece);
        const dnnl_status_t status =
            dnnl_sgemm(copies_a ? 'T' : 'N', copies_b ? 'N' : 'T', tile.rows, tile.columns, depth,
                       product.alpha, copies_a ? a_piece : a, copies_a ? piece_stride : k,
                       copies_b ? b_piece : b, copies_b ? piece_stride : k, factor,
                       product.out + tile.row * n + tile.column, n);
        if (status != dnnl_success)
            return status;
        factor = 1.0F;
    }
    return dnnl_success;
}

void multiply_f32(const Matmul& op)
{
    const MatmulExtents e = extents_of(op);
    const Product product{.extents = e,
                          .a = op.a.as<float>(),
                          .b = op.b.as<float>(),
                          .addend = op.addend.empty() ? nullptr : op.addend.as<float>(),
                          .out = op.out.as<float>(),
                          .a_transposed = op.transpose_a == Transpose::yes,
                          .b_transposed = op.transpose_b == Transpose::yes,
                          .alpha = static_cast<float>(op.alpha.on_host()),
                          .beta = static_cast<float>(op.beta)};
    for_each_tile(e, grid_of(e, op.transpose_a, op.transpose_b), max_depth, "dnnl_sgemm",
                  [&](const Tile& tile) { return compute(product, tile); });
}

} // namespace

void run(Cpu, const Matmul& op)
{
    if (op.a.dtype == DType::bf16)
        multiply_bf16(op);
    else
        multiply_f32(op);
}

} // namespace sluice::kernels
