// Legend: B sequences, T positions, H heads, D channels of a head.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// One entry per thread, in float64.
struct RotaryTableKernel {
    static constexpr int num_threads = 128;
    float *cosines, *sines; // [T, D/2]
    std::int64_t positions, half;
    double base;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = block_x() * num_threads + thread();
        if (i >= positions * half)
            return;
        const double exponent = -static_cast<double>(i % half) / static_cast<double>(half);
        const double angle = static_cast<double>(i / half) * pow(base, exponent);
        cosines[i] = static_cast<float>(cos(angle));
        sines[i] = static_cast<float>(sin(angle));
    }
};

/// A warp per token. A lane keeps to one chunk of the table, which it reads once, and turns that
/// chunk of one head after the other, several loaded at once.
template <class T>
struct RotaryKernel {
    static constexpr int num_threads = 256, num_warps = num_threads / warp_size;
    static constexpr int min_blocks = 4;
    T* qkv;                            // [B,T,3,H,D]
    const float *cosines, *sines;      // [T', D/2]
    std::int64_t rows, positions;      // rows: B T
    int heads, half;                   // heads of q and k, which lie side by side: 2 H
    int lanes_per_head, heads_at_once; // of a warp
    float direction;                   // 1 forward, -1 backward
    bool aligned;

    /// Pairs c to c + width - 1, of every `heads_at_once`th head.
    template <int width>
    SLUICE_DEVICE void turn_pairs(T* row, std::int64_t position, int first_head, int c) const
    {
        constexpr int at_once = width > 1 ? 4 / static_cast<int>(sizeof(T)) : 1;
        const Vector<float, width> cosine = load_vector<width>(cosines + position * half + c);
        Vector<float, width> sine = load_vector<width>(sines + position * half + c);
        for (int j = 0; j < width; ++j)
            sine.at[j] *= direction;
        for (int begin = first_head; begin < heads; begin += at_once * heads_at_once) {
            Vector<T, width> first[at_once], second[at_once];
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i) {
                const int head = begin + i * heads_at_once;
                const T* at = row + (2 * head * half + c);
                if (head < heads) {
                    first[i] = load_vector<width>(at);
                    second[i] = load_vector<width>(at + half);
                }
            }
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i) {
                const int head = begin + i * heads_at_once;
                if (head >= heads)
                    continue;
                Floats<width> x = floats_of(first[i]), y = floats_of(second[i]);
                for (int j = 0; j < width; ++j) {
                    const float turned = x[j] * cosine.at[j] - y[j] * sine.at[j];
                    y[j] = y[j] * cosine.at[j] + x[j] * sine.at[j];
                    x[j] = turned;
                }
                T* at = row + (2 * head * half + c);
                store_whole(at, x);
                store_whole(at + half, y);
            }
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t row = block_x() * num_warps + warp();
        const int head = lane() / lanes_per_head;
        if (row >= rows || head >= heads_at_once)
            return;
        T* at = qkv + row * (3 * heads * half);
        const std::int64_t position = row % positions;
        for (int c = lane() % lanes_per_head * chunk; c < half; c += lanes_per_head * chunk) {
            if (aligned)
                turn_pairs<chunk>(at, position, head, c);
            else
                for (int j = c; j < c + chunk && j < half; ++j)
                    turn_pairs<1>(at, position, head, j);
        }
    }
};

template <class Launcher>
void launch_rotary(const Launcher& launcher, const RotaryTable& op)
{
    const auto [positions, half] = extents_of(op);
    launcher(RotaryTableKernel{.cosines = op.cos.as<float>(),
                               .sines = op.sin.as<float>(),
                               .positions = positions,
                               .half = half,
                               .base = op.base},
             Grid{blocks_for(positions * half, RotaryTableKernel::num_threads)});
}

template <class Launcher>
void turn(const Launcher& launcher, const AttentionExtents& e, const TensorView& qkv,
          const TensorView& cosines, const TensorView& sines, float direction)
{
    const std::int64_t half = e.head_dim / 2, rows = e.sequences * e.positions;
    const auto lanes_per_head =
        static_cast<int>(std::clamp<std::int64_t>(blocks_for(half, chunk), 1, warp_size));
    SLUICE_CHECK(e.heads * e.head_dim < 1 << 28, e.heads << " heads of " << e.head_dim);
    with_type_of(qkv, [&]<class T>(Type<T>) {
        launcher(RotaryKernel<T>{.qkv = qkv.as<T>(),
                                 .cosines = cosines.as<float>(),
                                 .sines = sines.as<float>(),
                                 .rows = rows,
                                 .positions = e.positions,
                                 .heads = static_cast<int>(2 * e.heads),
                                 .half = static_cast<int>(half),
                                 .lanes_per_head = lanes_per_head,
                                 .heads_at_once = warp_size / lanes_per_head,
                                 .direction = direction,
                                 .aligned = chunks_aligned(half, qkv, cosines, sines)},
                 Grid{blocks_for(rows, RotaryKernel<T>::num_warps)});
    });
}

template <class Launcher>
void launch_rotary(const Launcher& launcher, const RotaryForward& op)
{
    turn(launcher, extents_of(op), op.qkv, op.cos, op.sin, 1.0F);
}

template <class Launcher>
void launch_rotary(const Launcher& launcher, const RotaryBackward& op)
{
    turn(launcher, extents_of(op), op.qkv_gradient, op.cos, op.sin, -1.0F);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
