// Legend: N rows (tokens), C channels.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// Rows that a block works on at a time, one per warp.
inline constexpr int norm_rows = 8;

/// A warp per row, which it reads twice: the second time from the first cache.
template <class T>
struct RmsNormForwardKernel {
    static constexpr int num_threads = norm_rows * warp_size;
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
        float sums[chunk] = {};
        for (std::int64_t c = lane() * chunk; c < channels; c += warp_size * chunk) {
            const Floats<chunk> floats = load_floats<chunk>(x_row + c, channels - c, aligned);
            for (int j = 0; j < chunk; ++j)
                sums[j] = fmaf(floats[j], floats[j], sums[j]);
        }
        const float squares = warp_sum(((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                                       ((sums[4] + sums[5]) + (sums[6] + sums[7])));
        const float over_root = 1.0F / sqrtf(squares / static_cast<float>(channels) + eps);
        const float factor = scale.read() * over_root;
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

/// A block takes `rows_per_part` rows, eight at a time: first a warp per row forms the row's sum,
/// then every thread writes dx of its channels and adds up the weight's gradient, which it leaves
/// in `parts`. Who adds what follows from N alone.
template <class T>
struct RmsNormBackwardKernel {
    static constexpr int num_threads = norm_rows * warp_size, min_blocks = 4;
    struct Row {
        float rstd, along_dy, along_x;
    };
    struct Shared {
        Row row[norm_rows];
        float weight_gradient[1]; // [C], each element one thread's own
    };
    static std::size_t shared_bytes(std::int64_t channels)
    {
        return sizeof(Shared) + static_cast<std::size_t>(channels) * sizeof(float);
    }

    const T *dy, *x, *weight, *addend; // [N,C], [N,C], [C], [N,C] or null
    const float* rstd;                 // [N]
    T* dx;                             // [N,C], maybe dy, x or addend
    float* parts;                      // [blocks,C]
    std::int64_t rows, channels, rows_per_part;
    FactorOnGpu scale;
    float beta;
    bool aligned;

    SLUICE_DEVICE Row row_sums(std::int64_t row) const
    {
        float sums[chunk] = {};
        for (std::int64_t c = lane() * chunk; c < channels; c += warp_size * chunk) {
            const std::int64_t count = channels - c, at = row * channels + c;
            const Floats<chunk> gain = load_floats<chunk>(weight + c, count, aligned);
            const Floats<chunk> above = load_floats<chunk>(dy + at, count, aligned);
            const Floats<chunk> below = load_floats<chunk>(x + at, count, aligned);
            for (int j = 0; j < chunk; ++j)
                sums[j] = fmaf(gain[j] * above[j], below[j], sums[j]);
        }
        const float dot = warp_sum(((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                                   ((sums[4] + sums[5]) + (sums[6] + sums[7])));
        const float r = rstd[row], factor = scale.read();
        return {r, factor * r, factor * r * r * r * (dot / static_cast<float>(channels))};
    }

    SLUICE_DEVICE void write_rows(const Shared& shared, std::int64_t first, int num_rows,
                                  std::int64_t c, Floats<chunk>& gradient) const
    {
        const std::int64_t count = channels - c;
        const Floats<chunk> gain = load_floats<chunk>(weight + c, count, aligned);
        for (int i = 0; i < num_rows; ++i) {
            const Row row = shared.row[i];
            const std::int64_t at = (first + i) * channels + c;
            const Floats<chunk> above = load_floats<chunk>(dy + at, count, aligned);
            const Floats<chunk> below = load_floats<chunk>(x + at, count, aligned);
            Floats<chunk> out;
            for (int j = 0; j < chunk; ++j) {
                gradient[j] = fmaf(above[j] * below[j], row.rstd, gradient[j]);
                out[j] = row.along_dy * (gain[j] * above[j]) - row.along_x * below[j];
            }
            if (addend) {
                const Floats<chunk> other = load_floats<chunk>(addend + at, count, aligned);
                for (int j = 0; j < chunk; ++j)
                    out[j] += beta * other[j];
            }
            store_floats(dx + at, out, count, aligned);
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        float* own = shared.weight_gradient;
        for (std::int64_t c = thread() * chunk; c < channels; c += num_threads * chunk)
            store_floats(own + c, Floats<chunk>{}, channels - c, false);
        const std::int64_t begin = block_x() * rows_per_part;
        const std::int64_t end = begin + rows_per_part < rows ? begin + rows_per_part : rows;
        for (std::int64_t first = begin; first < end; first += norm_rows) {
            const int num_rows =
                static_cast<int>(end - first < norm_rows ? end - first : norm_rows);
            if (warp() < num_rows) {
                const Row row = row_sums(first + warp());
                if (lane() == 0)
                    shared.row[warp()] = row;
            }
            barrier();
            for (std::int64_t c = thread() * chunk; c < channels; c += num_threads * chunk) {
                Floats<chunk> gradient = load_floats<chunk>(own + c, channels - c, false);
                write_rows(shared, first, num_rows, c, gradient);
                store_floats(own + c, gradient, channels - c, false);
            }
            barrier(); // before the next rows' sums
        }
        for (std::int64_t c = thread() * chunk; c < channels; c += num_threads * chunk)
            store_floats(parts + block_x() * channels + c,
                         load_floats<chunk>(own + c, channels - c, false), channels - c, false);
    }
};

/// weight_gradient += scale * the sum of the parts. Thread (g, c) of a block adds every 16th part
/// of one channel; then the 16 sums of a channel are added in order.
template <class G>
struct SumOfNormPartsKernel {
    static constexpr int groups = 16, num_threads = groups * warp_size;
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
        if (c < channels)
            for (std::int64_t part = warp(); part < num_parts; part += groups)
                sum += parts[part * channels + c];
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
void launch_rms_norm(const Launcher& launcher, const RmsNormForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const bool aligned =
        chunks_aligned(channels, op.x, op.weight, op.addend, op.y); // null is aligned
    with_type_of(op.x, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        launcher(RmsNormForwardKernel<T>{.x = op.x.as<T>(),
                                         .weight = op.weight.as<T>(),
                                         .addend = elements_or_null<T>(op.addend),
                                         .y = op.y.as<T>(),
                                         .rstd = op.rstd.as<float>(),
                                         .rows = rows,
                                         .channels = channels,
                                         .scale = factor_on_gpu(op.scale),
                                         .eps = static_cast<float>(op.eps),
                                         .aligned = aligned},
                 Grid{blocks_for(rows, norm_rows)});
    });
}

template <class Launcher>
void launch_rms_norm(const Launcher& launcher, const RmsNormBackward& op)
{
    constexpr std::int64_t max_parts = 512;
    const auto [rows, channels] = extents_of(op);
    const std::int64_t rows_per_part =
        std::max<std::int64_t>(1, blocks_for(blocks_for(rows, max_parts), norm_rows)) * norm_rows;
    const std::int64_t num_parts = blocks_for(rows, rows_per_part);
    auto* parts = launcher.template workspace<float>(num_parts * channels);
    with_type_of(op.x, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        using Kernel = RmsNormBackwardKernel<T>;
        launcher(
            Kernel{.dy = op.dy.as<T>(),
                   .x = op.x.as<T>(),
                   .weight = op.weight.as<T>(),
                   .addend = elements_or_null<T>(op.addend),
                   .rstd = op.rstd.as<float>(),
                   .dx = op.dx.as<T>(),
                   .parts = parts,
                   .rows = rows,
                   .channels = channels,
                   .rows_per_part = rows_per_part,
                   .scale = factor_on_gpu(op.scale),
                   .beta = static_cast<float>(op.beta),
                   .aligned = chunks_aligned(channels, op.dy, op.x, op.weight, op.addend, op.dx)},
            Grid{num_parts}, Kernel::shared_bytes(channels));
    });
    with_type_of(op.weight_gradient, [&, channels = channels]<class G>(Type<G>) {
        using Kernel = SumOfNormPartsKernel<G>;
        launcher(Kernel{.parts = parts,
                        .weight_gradient = op.weight_gradient.as<G>(),
                        .num_parts = num_parts,
                        .channels = channels,
                        .scale = factor_on_gpu(op.scale)},
                 Grid{blocks_for(channels, warp_size)}, sizeof(typename Kernel::Shared));
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
