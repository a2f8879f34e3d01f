#include "core/parallel.hpp"
#include "layers/kernels/extents.hpp"

#include <dnnl.h>

#include <algorithm>
#include <atomic>

namespace sluice::kernels {

void run(Cpu, const Matmul& op)
{
    const auto [m, n, k] = extents_of(op);
    const float* a = op.a.as<float>();
    const float* b = op.b.as<float>();
    float* out = op.out.as<float>();
    const bool at = op.transpose_a == Transpose::yes, bt = op.transpose_b == Transpose::yes;
    const auto alpha = static_cast<float>(op.alpha);
    const float beta = op.addend.empty() ? 0.0F : static_cast<float>(op.beta);
    const float* addend = op.addend.empty() ? out : op.addend.as<float>();

    std::atomic<dnnl_status_t> failure{dnnl_success};
    constexpr std::int64_t rows_per_tile = 128, columns_per_tile = 512;
    const std::int64_t tile_rows = (m + rows_per_tile - 1) / rows_per_tile;
    const std::int64_t tile_columns = (n + columns_per_tile - 1) / columns_per_tile;
    parallel_for(tile_rows * tile_columns, [&, m = m, n = n, k = k](std::int64_t tile) {
        const std::int64_t i = tile % tile_rows * rows_per_tile;
        const std::int64_t j = tile / tile_rows * columns_per_tile;
        const std::int64_t rows = std::min(rows_per_tile, m - i);
        const std::int64_t columns = std::min(columns_per_tile, n - j);
        if (addend != out)
            for (std::int64_t row = i; row < i + rows; ++row)
                std::copy_n(addend + row * n + j, columns, out + row * n + j);
        const dnnl_status_t status = dnnl_sgemm(
            at ? 'T' : 'N', bt ? 'T' : 'N', rows, columns, k, alpha, at ? a + i : a + i * k,
            at ? m : k, bt ? b + j * k : b + j, bt ? k : n, beta, out + i * n + j, n);
        if (status != dnnl_success)
            failure = status;
    });
    SLUICE_CHECK(failure == dnnl_success, "dnnl_sgemm returned " << failure.load() << " for m " << m
                                                                 << ", n " << n << ", k " << k);
}

} // namespace sluice::kernels
