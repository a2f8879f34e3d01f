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

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
