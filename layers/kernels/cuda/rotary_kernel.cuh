// Legend: B sequences, T positions, H heads, D channels of a head; a thread turns one chunk of
// pairs.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

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

template <class T>
struct RotaryKernel {
    static constexpr int num_threads = 256;
    T* qkv;                                                     // [B,T,3,H,D]
    const float *cosines, *sines;                               // [T', D/2]
    std::int64_t rows, positions, heads, half, chunks_per_head; // rows: B T
    float direction;                                            // 1 forward, -1 backward
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t item = block_x() * num_threads + thread();
        const std::int64_t c = item % chunks_per_head * chunk, head = item / chunks_per_head;
        const std::int64_t row = head / (2 * heads); // q and k lie side by side: 2 H heads
        if (row >= rows)
            return;
        const std::int64_t count = half - c, table = row % positions * half + c;
        T* at = qkv + (row * 3 * heads + head % (2 * heads)) * 2 * half + c;
        const Floats<chunk> cosine = load_floats<chunk>(cosines + table, count, aligned);
        const Floats<chunk> sine = load_floats<chunk>(sines + table, count, aligned);
        Floats<chunk> first = load_floats<chunk>(at, count, aligned);
        Floats<chunk> second = load_floats<chunk>(at + half, count, aligned);
        for (int j = 0; j < chunk; ++j) {
            const float s = direction * sine[j], x = first[j], y = second[j];
            first[j] = x * cosine[j] - y * s;
            second[j] = y * cosine[j] + x * s;
        }
        store_floats(at, first, count, aligned);
        store_floats(at + half, second, count, aligned);
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
    const std::int64_t chunks_per_head = blocks_for(half, chunk);
    with_type_of(qkv, [&]<class T>(Type<T>) {
        launcher(RotaryKernel<T>{.qkv = qkv.as<T>(),
                                 .cosines = cosines.as<float>(),
                                 .sines = sines.as<float>(),
                                 .rows = rows,
                                 .positions = e.positions,
                                 .heads = e.heads,
                                 .half = half,
                                 .chunks_per_head = chunks_per_head,
                                 .direction = direction,
                                 .aligned = chunks_aligned(half, qkv, cosines, sines)},
                 Grid{blocks_for(rows * 2 * e.heads * chunks_per_head, 256)});
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
