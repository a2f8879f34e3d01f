// Legend: N rows (tokens), C channels.
#pragma once

#include "layers/kernels/cuda/norm_rows.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// A row per group of warps, which hold it in registers; read once, with the addend on its way.
template <class T, int chunks>
struct RmsNormForwardKernel {
    static constexpr int num_threads = NormRows::num_warps * warp_size, min_blocks = 4;
    using Shared = NormRows::Sums;
    const T *x, *weight, *addend; // [N,C], [C], [N,C] or null
    T* y;                         // [N,C], maybe addend
    float* rstd;                  // [N]
    std::int64_t rows, channels;
    NormRows layout;
    FactorOnGpu scale;
    float eps;
    bool aligned;

    template <bool vectors>
    SLUICE_DEVICE void normalise() const
    {
        const std::int64_t row = block_x() * layout.num_groups() + layout.group();
        const bool there = row < rows; // where not, the warps go along to the sum
        RowChunks<T, chunks, vectors> own{}, other{};
        if (there) {
            layout.load(own, x + row * channels, channels);
            if (addend)
                layout.load(other, addend + row * channels, channels);
        }
        const float gate = scale.read(); // on its way with the row, not behind its sum
        Floats<chunk> sums{};
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k)
            for (int j = 0; j < chunk; ++j)
                sums[j] = fmaf(own.at(k, j), own.at(k, j), sums[j]);
        const float squares = layout.row_sum(shared_memory<Shared>(), sums, 0);
        if (!there)
            return;
        own.keep_only_words();
        RowChunks<T, chunks, vectors> gain{}; // all rows': in the first cache
        layout.load(gain, weight, channels);
        const float over_root = 1.0F / sqrtf(squares / static_cast<float>(channels) + eps);
        const float factor = gate * over_root;
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k) {
            const std::int64_t c = layout.channel(k);
            if (c >= channels)
                continue;
            Floats<chunk> out;
            for (int j = 0; j < chunk; ++j)
                out[j] = gain.at(k, j) * (factor * own.at(k, j));
            if (addend)
                for (int j = 0; j < chunk; ++j)
                    out[j] += other.at(k, j);
            store_elements<vectors>(y + row * channels + c, out, channels - c);
        }
        if (layout.lane_of_row() == 0)
            rstd[row] = over_root;
    }

    SLUICE_DEVICE void operator()() const
    {
        if (aligned)
            normalise<true>();
        else
            normalise<false>();
    }
};

/// A warp per row for rows too long for registers, which are read twice.
template <class T>
struct RmsNormForwardWideKernel {
    static constexpr int norm_rows = 8, num_threads = norm_rows * warp_size;
    const T *x, *weight, *addend; // [N,C], [C], [N,C] or null
    T* y;                         // [N,C], maybe addend
    float* rstd;                  // [N]
    std::int64_t rows, channels;
    FactorOnGpu scale;
    float eps;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t row = block_x() * norm_rows + warp();
        if (row >= rows)
            return;
        const T* x_row = x + row * channels;
        const float gate = scale.read();
        float sums[chunk] = {};
        for (std::int64_t c = lane() * chunk; c < channels; c += warp_size * chunk) {
            const Floats<chunk> floats = load_floats<chunk>(x_row + c, channels - c, aligned);
            for (int j = 0; j < chunk; ++j)
                sums[j] = fmaf(floats[j], floats[j], sums[j]);
        }
        const float squares = warp_sum(chunk_sum(sums));
        const float over_root = 1.0F / sqrtf(squares / static_cast<float>(channels) + eps);
        const float factor = gate * over_root;
        for (std::int64_t c = lane() * chunk; c < channels; c += warp_size * chunk) {
            const std::int64_t count = channels - c;
            const Floats<chunk> gain = load_floats<chunk>(weight + c, count, aligned);
            Floats<chunk> floats = load_floats<chunk>(x_row + c, count, aligned);
            for (int j = 0; j < chunk; ++j)
                floats[j] = gain[j] * (factor * floats[j]);
            if (addend) {
                const Floats<chunk> other =
                    load_floats<chunk>(addend + row * channels + c, count, aligned);
                for (int j = 0; j < chunk; ++j)
                    floats[j] += other[j];
            }
            store_floats(y + row * channels + c, floats, count, aligned);
        }
        if (lane() == 0)
            rstd[row] = over_root;
    }
};

template <class Launcher>
void launch_rms_norm(const Launcher& launcher, const RmsNormForward& op)
{
    const auto [rows, channels] = extents_of(op);
    with_type_of(op.x, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        const NormRows layout = NormRows::for_channels(channels, max_norm_chunks<T>);
        const auto fill = [&](auto kernel) {
            kernel.x = op.x.as<T>();
            kernel.weight = op.weight.as<T>();
            kernel.addend = elements_or_null<T>(op.addend);
            kernel.y = op.y.as<T>();
            kernel.rstd = op.rstd.as<float>();
            kernel.rows = rows;
            kernel.channels = channels;
            kernel.scale = factor_on_gpu(op.scale);
            kernel.eps = static_cast<float>(op.eps);
            kernel.aligned = // null is aligned
                chunks_aligned(channels, op.x, op.weight, op.addend, op.y);
            return kernel;
        };
        if (layout.chunks > 0)
            with_chunks<T>(layout.chunks, [&]<int chunks>(NumChunks<chunks>) {
                auto kernel = fill(RmsNormForwardKernel<T, chunks>{});
                kernel.layout = layout;
                launcher(kernel, Grid{blocks_for(rows, layout.rows_of_block())},
                         sizeof(typename RmsNormForwardKernel<T, chunks>::Shared));
            });
        else {
            using Kernel = RmsNormForwardWideKernel<T>;
            launcher(fill(Kernel{}), Grid{blocks_for(rows, Kernel::norm_rows)});
        }
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
