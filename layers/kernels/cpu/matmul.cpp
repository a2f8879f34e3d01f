// Products by oneDNN's sgemm, one call per tile of a grid that follows from the shape alone.
//
// Left to thread by itself oneDNN splits some products along K by the number of threads, and with
// it changes bits. So every call here runs on one thread, inside a parallel loop over tiles.
#include "layers/kernels/matmul.hpp"

#include "core/parallel.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <atomic>
#include <dnnl.h>
#include <omp.h>

namespace sluice::kernels {

namespace {

/// K goes in steps whose rows of `b` stay in the last cache while every tile reads them.
constexpr std::int64_t max_depth = 4096;
/// A transposed `a` is copied in pieces of this many columns and rows, because walking down its
/// columns at a stride of M floats collides in the caches (measured: 52 against 70 GFLOP/s).
constexpr std::int64_t piece_rows = 512, piece_columns = 128;
/// Floats between the rows of a piece: not a power of two, for the same reason.
constexpr std::int64_t piece_stride = piece_columns + 16;
using Piece = float[piece_rows * piece_stride];

struct Grid {
    std::int64_t rows, columns; ///< of one tile

    static std::int64_t count(std::int64_t extent, std::int64_t tile)
    {
        return (extent + tile - 1) / tile;
    }
};

/// Sixteen tiles or more, each as large and as square as that allows: sgemm is slower on slivers.
Grid grid_of(const MatmulExtents& e, Transpose transpose_a)
{
    constexpr std::int64_t enough_tiles = 16, max_columns = 2048, min_side = 64, alignment = 16;
    const auto halve = [](std::int64_t& side) {
        side = (side / 2 + alignment - 1) / alignment * alignment;
    };
    Grid grid{transpose_a == Transpose::yes ? std::min(e.m, piece_columns) : e.m, e.n};
    while (grid.columns > max_columns)
        halve(grid.columns);
    while (Grid::count(e.m, grid.rows) * Grid::count(e.n, grid.columns) < enough_tiles &&
           std::max(grid.rows, grid.columns) >= 2 * min_side)
        halve(grid.rows >= grid.columns ? grid.rows : grid.columns);
    return grid;
}

/// One tile of the result, or what a range of K adds to it.
struct Tile {
    std::int64_t row, column, rows, columns, first_k, depth;
};

struct Product {
    MatmulExtents extents;
    const float *a, *b, *addend; ///< addend: null, `out` itself or another tensor
    float* out;
    bool a_transposed, b_transposed;
    float alpha, beta;

    dnnl_status_t compute(const Tile& tile) const;

private:
    /// out's tile = alpha a b + factor out; `a` starts at the tile's first row and `k`.
    dnnl_status_t sgemm(const Tile& tile, std::int64_t k, std::int64_t depth, const float* a_at,
                        std::int64_t a_stride, float factor) const
    {
        const float* b_at =
            b + (b_transposed ? tile.column * extents.k + k : k * extents.n + tile.column);
        return dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', tile.rows,
                          tile.columns, depth, alpha, a_at, a_stride, b_at,
                          b_transposed ? extents.k : extents.n, factor,
                          out + tile.row * extents.n + tile.column, extents.n);
    }
};

dnnl_status_t Product::compute(const Tile& tile) const
{
    float factor = 1.0F; // later ranges of K add to the earlier ones
    if (tile.first_k == 0) {
        factor = addend ? beta : 0.0F;
        if (addend && addend != out)
            for (std::int64_t row = tile.row; row < tile.row + tile.rows; ++row)
                std::copy_n(addend + row * extents.n + tile.column, tile.columns,
                            out + row * extents.n + tile.column);
    }
    if (!a_transposed)
        return sgemm(tile, tile.first_k, tile.depth, a + tile.row * extents.k + tile.first_k,
                     extents.k, factor);

    Piece piece;
    for (std::int64_t begin = 0; begin < tile.depth; begin += piece_rows) {
        const std::int64_t k = tile.first_k + begin;
        const std::int64_t depth = std::min(piece_rows, tile.depth - begin);
        for (std::int64_t row = 0; row < depth; ++row)
            std::copy_n(a + (k + row) * extents.m + tile.row, tile.rows,
                        piece + row * piece_stride);
        const dnnl_status_t status = sgemm(tile, k, depth, piece, piece_stride, factor);
        if (status != dnnl_success)
            return status;
        factor = 1.0F;
    }
    return dnnl_success;
}

} // namespace

void run(Cpu, const Matmul& op)
{
    const MatmulExtents e = extents_of(op);
    const Product product{.extents = e,
                          .a = op.a.as<float>(),
                          .b = op.b.as<float>(),
                          .addend = op.addend.empty() ? nullptr : op.addend.as<float>(),
                          .out = op.out.as<float>(),
                          .a_transposed = op.transpose_a == Transpose::yes,
                          .b_transposed = op.transpose_b == Transpose::yes,
                          .alpha = static_cast<float>(op.alpha),
                          .beta = static_cast<float>(op.beta)};
    const Grid grid = grid_of(e, op.transpose_a);
    const std::int64_t tile_rows = Grid::count(e.m, grid.rows);
    const std::int64_t tile_columns = Grid::count(e.n, grid.columns);

    std::atomic<dnnl_status_t> failure{dnnl_success};
    for (std::int64_t first_k = 0; first_k < e.k; first_k += max_depth) {
        parallel_for(tile_rows * tile_columns, [&](std::int64_t i) {
            // The limit belongs to this thread's part of the loop alone: it keeps oneDNN on one
            // thread also where the loop itself has but one and does not count as parallel.
            omp_set_num_threads(1);
            const std::int64_t row = i % tile_rows * grid.rows;
            const std::int64_t column = i / tile_rows * grid.columns;
            const dnnl_status_t status =
                product.compute({.row = row,
                                 .column = column,
                                 .rows = std::min(grid.rows, e.m - row),
                                 .columns = std::min(grid.columns, e.n - column),
                                 .first_k = first_k,
                                 .depth = std::min(max_depth, e.k - first_k)});
            if (status != dnnl_success)
                failure = status;
        });
    }
    SLUICE_CHECK(failure == dnnl_success, "dnnl_sgemm returned " << failure.load() << " for m "
                                                                 << e.m << ", n " << e.n << ", k "
                                                                 << e.k);
}

} // namespace sluice::kernels
