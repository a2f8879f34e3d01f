// Legend: N rows (tokens), C channels.
#pragma once

#include "layers/kernels/cuda/norm_rows.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// What a row's gradient needs of the whole row: dx = along_dy * weight * dy - along_x * x.
struct NormGradientRow {
    float rstd, along_dy, along_x;
};

SLUICE_DEVICE NormGradientRow norm_gradient_row(float rstd, float scale, float dot,
                                                std::int64_t channels)
{
    const float r = rstd, mean = dot / static_cast<float>(channels);
    return {r, scale * r, scale * r * r * r * mean};
}

/// RmsNormBackwardKernel for rows too long for registers, which are read twice: eight rows at a
/// time, first a warp per row forms the row's sum, then every thread writes dx of its channels and
/// adds up the weight's gradient, in shared memory where it fits, and leaves it in `parts`. Who
/// adds what follows from N and C alone.
template <class T>
struct RmsNormBackwardWideKernel {
    static constexpr int norm_rows = 8; // one per warp
    static constexpr int num_threads = norm_rows * warp_size, min_blocks = 4;
    struct Shared {
        NormGradientRow row[norm_rows];
        float weight_gradient[1]; // [C], each element one thread's own
    };
    static std::size_t bytes_with_sums(std::int64_t channels)
    {
        return sizeof(Shared) + static_cast<std::size_t>(channels) * sizeof(float);
    }
    /// Longer rows' sums go where the block's part will be, with the same bits.
    static bool sums_are_shared(std::int64_t channels)
    {
        return bytes_with_sums(channels) <= most_shared_bytes;
    }
    static std::size_t shared_bytes(std::int64_t channels)
    {
        return sums_are_shared(channels) ? bytes_with_sums(channels) : sizeof(Shared);
    }

    const T *dy, *x, *weight, *addend; // [N,C], [N,C], [C], [N,C] or null
    const float* rstd;                 // [N]
    T* dx;                             // [N,C], maybe dy, x or addend
    float* parts;                      // [blocks,C]
    std::int64_t rows, channels, rows_per_part;
    FactorOnGpu scale;
    float beta;
    bool aligned, shared_sums;

    SLUICE_DEVICE NormGradientRow row_sums(std::int64_t row) const
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
        const float dot = warp_sum(chunk_sum(sums));
        return norm_gradient_row(rstd[row], scale.read(), dot, channels);
    }

    SLUICE_DEVICE void write_rows(const Shared& shared, std::int64_t first, int num_rows,
                                  std::int64_t c, Floats<chunk>& gradient) const
    {
        const std::int64_t count = channels - c;
        const Floats<chunk> gain = load_floats<chunk>(weight + c, count, aligned);
        for (int i = 0; i < num_rows; ++i) {
            const NormGradientRow row = shared.row[i];
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

    /// `own`: the weight's gradient of the block's rows, [C].
    SLUICE_DEVICE void add_rows(Shared& shared, float* own) const
    {
        for (std::int64_t c = thread() * chunk; c < channels; c += num_threads * chunk)
            store_floats(own + c, Floats<chunk>{}, channels - c, false);
        const std::int64_t begin = block_x() * rows_per_part;
        const std::int64_t end = begin + rows_per_part < rows ? begin + rows_per_part : rows;
        for (std::int64_t first = begin; first < end; first += norm_rows) {
            const int num_rows =
                static_cast<int>(end - first < norm_rows ? end - first : norm_rows);
            if (warp() < num_rows) {
                const NormGradientRow row = row_sums(first + warp());
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
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        float* part = parts + block_x() * channels;
        if (!shared_sums)
            return add_rows(shared, part);
        const float* own = shared.weight_gradient;
        add_rows(shared, shared.weight_gradient);
        for (std::int64_t c = thread() * chunk; c < channels; c += num_threads * chunk)
            store_floats(part + c, load_floats<chunk>(own + c, channels - c, false), channels - c,
                         false);
    }
};

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
