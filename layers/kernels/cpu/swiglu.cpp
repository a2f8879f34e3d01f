#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

Lanes sigmoid(const Lanes& z) { return 1.0F / (1.0F + exp(-z)); }

} // namespace

void run(Cpu, const SwigluForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const float* gate_up = op.gate_up.as<float>();
    float* out = op.h.as<float>();
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const float* gate = gate_up + row * 2 * channels;
        const float* up = gate + channels;
        float* h = out + row * channels;
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            const Lanes z = load(gate + c, count);
            store(h + c, z * sigmoid(z) * load(up + c, count), count);
        });
    });
}

// silu'(z) = s (1 + z (1 - s)) with s = sigmoid(z).
void run(Cpu, const SwigluBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    const float* gate_up = op.gate_up.as<float>();
    const float* h_gradient = op.dh.as<float>();
    float* gradient = op.gate_up_gradient.as<float>();
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const float* gate = gate_up + row * 2 * channels;
        const float* up = gate + channels;
        const float* dh = h_gradient + row * channels;
        float* dgate = gradient + row * 2 * channels;
        float* dup = dgate + channels;
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            const Lanes z = load(gate + c, count), u = load(up + c, count);
            const Lanes d = load(dh + c, count), s = sigmoid(z);
            store(dgate + c, d * u * s * (1.0F + z * (1.0F - s)), count);
            store(dup + c, d * z * s, count);
        });
    });
}

} // namespace sluice::kernels
