// Legend: N rows (tokens), C channels.
#pragma once

#include "layers/kernels/cuda/rms_norm_backward_wide_kernel.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// A block takes `rows_per_part` rows; a row lies in the registers of its warps between the sum
/// over it and dx, so that everything is read once. The weight's gradient is added up in registers
/// too, and leaves as the block's part. Who adds what follows from N and C alone.
template <class T, int chunks>
struct RmsNormBackwardKernel {
    static constexpr int num_threads = NormRows::num_warps * warp_size;
    static constexpr int min_blocks = chunks > 1 ? 2 : 3;
    struct Shared {
        NormRows::Sums sums;
        float weight_gradient[1]; // [chunks][chunk][lanes of a row]
    };
    static std::size_t shared_bytes(const NormRows& layout)
    {
        return sizeof(Shared) + sizeof(float) * static_cast<std::size_t>(layout.padded_channels());
    }

    const T *dy, *x, *weight, *addend; // [N,C], [N,C], [C], [N,C] or null
    const float* rstd;                 // [N]
    T* dx;                             // [N,C], maybe dy, x or addend
    float* parts;                      // [blocks,C]
    std::int64_t rows, channels, rows_per_part;
    NormRows layout;
    FactorOnGpu scale;
    float beta;
    bool aligned;

    /// One row. Where there is none, the warps go along to the sum.
    template <bool vectors>
    SLUICE_DEVICE void add_row(Shared& shared, std::int64_t row, bool there, int turn,
                               RowChunks<T, chunks, vectors>& gain,
                               Floats<chunk> (&gradient)[chunks]) const
    {
        RowChunks<T, chunks, vectors> above{}, below{}, other{};
        float r = 0.0F;
        if (there) {
            layout.load(above, dy + row * channels, channels);
            layout.load(below, x + row * channels, channels);
            if (addend)
                layout.load(other, addend + row * channels, channels);
            r = rstd[row];
        }
        const float gate = scale.read(); // on its way with the row, not behind its sum
        gain.keep_only_words();
        Floats<chunk> sums{};
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k)
            for (int j = 0; j < chunk; ++j)
                sums[j] = fmaf(gain.at(k, j) * above.at(k, j), below.at(k, j), sums[j]);
        const float dot = layout.row_sum(shared.sums, sums, turn);
        if (!there)
            return;
        gain.keep_only_words();
        above.keep_only_words();
        below.keep_only_words();
        const NormGradientRow own = norm_gradient_row(r, gate, dot, channels);
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k) {
            const std::int64_t c = layout.channel(k);
            if (c >= channels)
                continue;
            Floats<chunk> out;
            for (int j = 0; j < chunk; ++j) {
                const float a = above.at(k, j), b = below.at(k, j);
                gradient[k][j] = fmaf(a * b, own.rstd, gradient[k][j]);
                out[j] = own.along_dy * (gain.at(k, j) * a) - own.along_x * b;
            }
            if (addend)
                for (int j = 0; j < chunk; ++j)
                    out[j] += beta * other.at(k, j);
            store_elements<vectors>(dx + row * channels + c, out, channels - c);
        }
    }

    /// The sums of the block's groups of warps, added in their order.
    SLUICE_DEVICE void write_part(Shared& shared, const Floats<chunk> (&gradient)[chunks]) const
    {
        float* sums = shared.weight_gradient;
        const int lanes = layout.lanes();
        for (int group = 0; group < layout.num_groups(); ++group) {
            if (layout.group() == group) {
                SLUICE_UNROLL
                for (int k = 0; k < chunks; ++k)
                    for (int j = 0; j < chunk; ++j) {
                        float& sum = sums[(k * chunk + j) * lanes + layout.lane_of_row()];
                        sum = group == 0 ? gradient[k][j] : sum + gradient[k][j];
                    }
            }
            barrier();
        }
        for (int i = thread(); i < chunks * lanes; i += num_threads) {
            const int k = (i >> layout.log2_warps_per_row) / warp_size,
                      lane_of_row = i & (lanes - 1);
            const std::int64_t c = std::int64_t{i} * chunk, count = channels - c;
            float* to = parts + block_x() * channels + c;
            Floats<chunk / 2> low, high;
            for (int j = 0; j < chunk / 2; ++j) {
                const float* sum = sums + (k * chunk + j) * lanes + lane_of_row;
                low[j] = sum[0];
                high[j] = sum[chunk / 2 * lanes];
            }
            store_floats(to, low, count, channels % chunk == 0);
            store_floats(to + chunk / 2, high, count - chunk / 2, channels % chunk == 0);
        }
    }

    template <bool vectors>
    SLUICE_DEVICE void add_rows() const
    {
        Shared& shared = shared_memory<Shared>();
        RowChunks<T, chunks, vectors> gain{};
        layout.load(gain, weight, channels);
        Floats<chunk> gradient[chunks] = {};
        const std::int64_t begin = block_x() * rows_per_part;
        const std::int64_t end = begin + rows_per_part < rows ? begin + rows_per_part : rows;
        int turn = 0;
        for (std::int64_t first = begin; first < end; first += layout.num_groups()) {
            const std::int64_t row = first + layout.group();
            add_row<vectors>(shared, row, row < end, turn, gain, gradient);
            turn ^= 1; // the others may still read this row's
        }
        write_part(shared, gradient);
    }

    SLUICE_DEVICE void operator()() const
    {
        if (aligned)
            add_rows<true>();
        else
            add_rows<false>();
    }
};

/// weight_gradient += scale * the sum of the parts. Thread (g, c) of a block adds every 32nd part
/// of one channel, some loaded at once; then the 32 sums of a channel are added in order.
template <class G>
struct SumOfNormPartsKernel {
    static constexpr int groups = 32, at_once = 8, num_threads = groups * warp_size;
    struct Shared {
        float sums[groups][warp_size];
    };
    const float* parts; // [num_parts,C]
    G* weight_gradient; // [C]
    std::int64_t num_parts, channels;
    FactorOnGpu scale;

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const std::int64_t c = block_x() * warp_size + lane();
        float sum = 0.0F;
        for (std::int64_t first = warp(); c < channels && first < num_parts;
             first += groups * at_once) {
            float values[at_once];
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i) {
                const std::int64_t part = first + i * groups;
                values[i] = part < num_parts ? parts[part * channels + c] : 0.0F;
            }
            for (int i = 0; i < at_once; ++i)
                sum += values[i];
        }
        shared.sums[warp()][lane()] = sum;
        barrier();
        if (warp() != 0 || c >= channels)
            return;
        float total = 0.0F;
        for (int group = 0; group < groups; ++group)
            total += shared.sums[group][lane()];
        weight_gradient[c] = from_float<G>(fmaf(scale.read(), total, to_float(weight_gradient[c])));
    }
};

template <class Launcher>
void launch_rms_norm(const Launcher& launcher, const RmsNormBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    with_type_of(op.x, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        const NormRows layout = NormRows::for_channels(channels, max_norm_chunks<T>);
        constexpr std::int64_t part_elements = std::int64_t{16} << 20; // 64 MiB: the workspace
        const std::int64_t max_parts =
            layout.chunks > 0 ? 1024 : std::clamp<std::int64_t>(part_elements / channels, 1, 512);
        const std::int64_t rows_at_least = layout.chunks > 0 ? 8 : 16;
        const std::int64_t rows_per_part =
            std::max(rows_at_least, blocks_for(blocks_for(rows, max_parts), 8) * 8);
        const std::int64_t num_parts = blocks_for(rows, rows_per_part);
        auto* parts = launcher.template workspace<float>(num_parts * channels);
        const auto fill = [&](auto kernel) {
            kernel.dy = op.dy.as<T>();
            kernel.x = op.x.as<T>();
            kernel.weight = op.weight.as<T>();
            kernel.addend = elements_or_null<T>(op.addend);
            kernel.rstd = op.rstd.as<float>();
            kernel.dx = op.dx.as<T>();
            kernel.parts = parts;
            kernel.rows = rows;
            kernel.channels = channels;
            kernel.rows_per_part = rows_per_part;
            kernel.scale = factor_on_gpu(op.scale);
            kernel.beta = static_cast<float>(op.beta);
            kernel.aligned = chunks_aligned(channels, op.dy, op.x, op.weight, op.addend, op.dx);
            return kernel;
        };
        if (layout.chunks > 0)
            with_chunks<T>(layout.chunks, [&]<int chunks>(NumChunks<chunks>) {
                auto kernel = fill(RmsNormBackwardKernel<T, chunks>{});
                kernel.layout = layout;
                launcher(kernel, Grid{num_parts}, kernel.shared_bytes(layout));
            });
        else {
            auto kernel = fill(RmsNormBackwardWideKernel<T>{});
            kernel.shared_sums = kernel.sums_are_shared(channels);
            launcher(kernel, Grid{num_parts}, kernel.shared_bytes(channels));
        }
        with_type_of(op.weight_gradient, [&]<class G>(Type<G>) {
            using Kernel = SumOfNormPartsKernel<G>;
            launcher(Kernel{.parts = parts,
                            .weight_gradient = op.weight_gradient.as<G>(),
                            .num_parts = num_parts,
                            .channels = channels,
                            .scale = factor_on_gpu(op.scale)},
                     Grid{blocks_for(channels, warp_size)}, sizeof(typename Kernel::Shared));
        });
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
