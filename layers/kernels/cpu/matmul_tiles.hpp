// A product's grid of tiles, which follows from the shape alone, and the loop over it.
#pragma once

#include "layers/kernels/cpu/parallel_calls.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

/// One tile of the result, or what a range of K adds to it.
struct Tile {
    std::int64_t row, column, rows, columns, first_k, depth;
};

struct TileGrid {
    std::int64_t rows, columns; ///< of one tile

    static std::int64_t count(std::int64_t extent, std::int64_t tile)
    {
        return (extent + tile - 1) / tile;
    }
    /// Smaller until there are sixteen tiles or more, each as large and as square as that allows:
    /// the library is slower on slivers.
    TileGrid halved_until_enough(const MatmulExtents& e) const
    {
        constexpr std::int64_t enough_tiles = 16, min_side = 128;
        TileGrid grid = *this;
        while (count(e.m, grid.rows) * count(e.n, grid.columns) < enough_tiles &&
               std::max(grid.rows, grid.columns) >= 2 * min_side)
            halve(grid.rows >= grid.columns ? grid.rows : grid.columns);
        return grid;
    }
    static void halve(std::int64_t& side)
    {
        constexpr std::int64_t alignment = 16;
        side = (side / 2 + alignment - 1) / alignment * alignment;
    }
};

/// compute(tile), which returns the library's status, for all tiles; K in steps of at most
/// `max_depth`, all tiles of a step before the next.
template <class Compute>
void for_each_tile(const MatmulExtents& e, const TileGrid& grid, std::int64_t max_depth,
                   const char* call, Compute&& compute)
{
    const std::int64_t tile_rows = TileGrid::count(e.m, grid.rows);
    const std::int64_t tile_columns = TileGrid::count(e.n, grid.columns);
    dnnl_status_t status = dnnl_success;
    for (std::int64_t first_k = 0; first_k < e.k && status == dnnl_success; first_k += max_depth)
        status = parallel_calls(tile_rows * tile_columns, [&](std::int64_t i) {
            const std::int64_t row = i % tile_rows * grid.rows;
            const std::int64_t column = i / tile_rows * grid.columns;
            return compute(Tile{.row = row,
                                .column = column,
                                .rows = std::min(grid.rows, e.m - row),
                                .columns = std::min(grid.columns, e.n - column),
                                .first_k = first_k,
                                .depth = std::min(max_depth, e.k - first_k)});
        });
    SLUICE_CHECK(status == dnnl_success, call << " returned " << status << " for m " << e.m
                                              << ", n " << e.n << ", k " << e.k);
}

/// Products of bfloat16, added in float32 (matmul_bf16.cpp).
void multiply_bf16(const Matmul& op);

} // namespace sluice::kernels
