// float32 products through oneDNN, cut into a grid of tiles that depends on the shape alone.
//
// oneDNN's own threading may split the inner dimension by the number of threads, which changes bits
// (docs/decisions/0001). So each tile is one call on one thread: the library runs serially inside a
// parallel region.
#include "layers/kernels/matmul.hpp"

#include "core/parallel.hpp"

#include <algorithm>
#include <cstring>
#include <dnnl.h>
#include <omp.h>

namespace sluice::kernels {

namespace {

struct Grid {
    std::int64_t rows = 1, columns = 1; ///< tiles along M and N
};

/// Enough tiles to share out, none so small that packing its operands costs more than it shares.
Grid grid_of(std::int64_t M, std::int64_t N)
{
    constexpr std::int64_t least = 128, num_tiles = 8;
    Grid grid;
    while (grid.rows * grid.columns < num_tiles) {
        const std::int64_t height = M / grid.rows, width = N / grid.columns;
        if (std::max(height, width) < 2 * least)
            break;
        (height >= width ? grid.rows : grid.columns) *= 2;
    }
    return grid;
}

/// Boundary i of n almost equal parts of `extent`, on a multiple of the vector width.
std::int64_t boundary(std::int64_t extent, std::int64_t i, std::int64_t n)
{
    return i == n ? extent : extent * i / n / 16 * 16;
}

void multiply(const Matmul& op, std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1)
{
    const bool ta = op.transpose_a == Transpose::yes, tb = op.transpose_b == Transpose::yes;
    const std::int64_t M = op.out.shape[0], N = op.out.shape[1];
    const std::int64_t K = ta ? op.a.shape[0] : op.a.shape[1];
    const float* a = op.a.as<float>() + (ta ? m0 : m0 * K);
    const float* b = op.b.as<float>() + (tb ? n0 * K : n0);
    float* out = op.out.as<float>() + m0 * N + n0;
    float beta = 0.0f;
    if (!op.addend.empty()) {
        beta = static_cast<float>(op.beta);
        if (op.addend.data != op.out.data)
            for (std::int64_t m = m0; m < m1; ++m)
                std::memcpy(op.out.as<float>() + m * N + n0, op.addend.as<float>() + m * N + n0,
                            static_cast<std::size_t>(n1 - n0) * sizeof(float));
    }
    const dnnl_status_t status =
        dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m1 - m0, n1 - n0, K,
                   static_cast<float>(op.alpha), a, ta ? M : K, b, tb ? K : N, beta, out, N);
    // Inside a parallel region nothing may throw: remember and report outside would hide the tile.
    if (status != dnnl_success)
        std::terminate();
}

} // namespace

void run(Cpu, const Matmul& op)
{
    const std::int64_t M = op.out.shape[0], N = op.out.shape[1];
    const Grid grid = grid_of(M, N);
    const std::int64_t num_tiles = grid.rows * grid.columns;
    parallel_for(num_tiles, [&](std::int64_t tile) {
        const std::int64_t row = tile / grid.columns, column = tile % grid.columns;
        multiply(op, boundary(M, row, grid.rows), boundary(M, row + 1, grid.rows),
                 boundary(N, column, grid.columns), boundary(N, column + 1, grid.columns));
    });
}

} // namespace sluice::kernels
