// Legend: N rows (tokens), F channels; a chunk of a row per thread.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

SLUICE_DEVICE float sigmoid(float z) { return 1.0F / (1.0F + expf(-z)); }

template <class T>
struct SwigluForwardKernel {
    static constexpr int num_threads = 256;
    const T* gate_up; // [N,2F]
    T* h;             // [N,F]
    std::int64_t rows, channels, chunks_per_row;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t item = block_x() * num_threads + thread();
        const std::int64_t row = item / chunks_per_row, c = item % chunks_per_row * chunk;
        if (row >= rows)
            return;
        const std::int64_t count = channels - c;
        const T* at = gate_up + row * 2 * channels + c;
        const Floats<chunk> gate = load_floats<chunk>(at, count, aligned);
        const Floats<chunk> up = load_floats<chunk>(at + channels, count, aligned);
        Floats<chunk> product;
        for (int j = 0; j < chunk; ++j)
            product[j] = gate[j] * sigmoid(gate[j]) * up[j];
        store_floats(h + row * channels + c, product, count, aligned);
    }
};

// silu'(z) = s (1 + z (1 - s)) with s = 1 / (1 + exp(-z)).
template <class T>
struct SwigluBackwardKernel {
    static constexpr int num_threads = 256;
    const T* dh;      // [N,F]
    const T* gate_up; // [N,2F]
    T* gradient;      // [N,2F], maybe gate_up
    std::int64_t rows, channels, chunks_per_row;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t item = block_x() * num_threads + thread();
        const std::int64_t row = item / chunks_per_row, c = item % chunks_per_row * chunk;
        if (row >= rows)
            return;
        const std::int64_t count = channels - c, at = row * 2 * channels + c;
        const Floats<chunk> d = load_floats<chunk>(dh + row * channels + c, count, aligned);
        Floats<chunk> gate = load_floats<chunk>(gate_up + at, count, aligned);
        Floats<chunk> up = load_floats<chunk>(gate_up + at + channels, count, aligned);
        for (int j = 0; j < chunk; ++j) {
            const float z = gate[j], s = sigmoid(z);
            gate[j] = d[j] * up[j] * s * (1.0F + z * (1.0F - s));
            up[j] = d[j] * z * s;
        }
        store_floats(gradient + at, gate, count, aligned);
        store_floats(gradient + at + channels, up, count, aligned);
    }
};

template <class Launcher>
void launch_swiglu(const Launcher& launcher, const SwigluForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const std::int64_t chunks_per_row = blocks_for(channels, chunk);
    with_type_of(op.h, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        launcher(SwigluForwardKernel<T>{.gate_up = op.gate_up.as<T>(),
                                        .h = op.h.as<T>(),
                                        .rows = rows,
                                        .channels = channels,
                                        .chunks_per_row = chunks_per_row,
                                        .aligned = chunks_aligned(channels, op.gate_up, op.h)},
                 Grid{blocks_for(rows * chunks_per_row, 256)});
    });
}

template <class Launcher>
void launch_swiglu(const Launcher& launcher, const SwigluBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    const std::int64_t chunks_per_row = blocks_for(channels, chunk);
    with_type_of(op.dh, [&, rows = rows, channels = channels]<class T>(Type<T>) {
        launcher(SwigluBackwardKernel<T>{.dh = op.dh.as<T>(),
                                         .gate_up = op.gate_up.as<T>(),
                                         .gradient = op.gate_up_gradient.as<T>(),
                                         .rows = rows,
                                         .channels = channels,
                                         .chunks_per_row = chunks_per_row,
                                         .aligned = chunks_aligned(channels, op.dh, op.gate_up,
                                                                   op.gate_up_gradient)},
                 Grid{blocks_for(rows * chunks_per_row, 256)});
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
