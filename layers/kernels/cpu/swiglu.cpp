#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

Lanes sigmoid(const Lanes& z) { return 1.0F / (1.0F + exp(-z)); }

template <class T>
void forward(const SwigluForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const T* gate_up = op.gate_up.as<T>();
    T* out = op.h.as<T>();
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const T* gate = gate_up + row * 2 * channels;
        const T* up = gate + channels;
        T* h = out + row * channels;
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            const Lanes z = load(gate + c, count);
            store(h + c, z * sigmoid(z) * load(up + c, count), count);
        });
    });
}

// silu'(z) = s (1 + z (1 - s)) with s = sigmoid(z).
template <class T>
void backward(const SwigluBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    const T* gate_up = op.gate_up.as<T>();
    const T* h_gradient = op.dh.as<T>();
    T* gradient = op.gate_up_gradient.as<T>();
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const T* gate = gate_up + row * 2 * channels;
        const T* up = gate + channels;
        const T* dh = h_gradient + row * channels;
        T* dgate = gradient + row * 2 * channels;
        T* dup = dgate + channels;
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            const Lanes z = load(gate + c, count), u = load(up + c, count);
            const Lanes d = load(dh + c, count), s = sigmoid(z);
            store(dgate + c, d * u * s * (1.0F + z * (1.0F - s)), count);
            store(dup + c, d * z * s, count);
        });
    });
}

} // namespace

void run(Cpu, const SwigluForward& op)
{
    with_type_of(op.h, [&]<class T>(Type<T>) { forward<T>(op); });
}

void run(Cpu, const SwigluBackward& op)
{
    with_type_of(op.dh, [&]<class T>(Type<T>) { backward<T>(op); });
}

} // namespace sluice::kernels
