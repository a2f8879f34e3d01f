#include "layers/kernels/extents.hpp"

#include <cmath>

namespace sluice::kernels {

void run(Reference, const SwigluForward& op)
{
    const auto [rows, channels] = extents_of(op);
    for (std::int64_t row = 0; row < rows; ++row) {
        const double* gate = op.gate_up.as<double>() + row * 2 * channels;
        const double* up = gate + channels;
        double* h = op.h.as<double>() + row * channels;
        for (std::int64_t c = 0; c < channels; ++c)
            h[c] = gate[c] / (1.0 + std::exp(-gate[c])) * up[c];
    }
}

// silu'(z) = s (1 + z (1 - s)) with s = 1 / (1 + exp(-z)).
void run(Reference, const SwigluBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    for (std::int64_t row = 0; row < rows; ++row) {
        const double* dh = op.dh.as<double>() + row * channels;
        const double* gate = op.gate_up.as<double>() + row * 2 * channels;
        const double* up = gate + channels;
        double* dgate = op.gate_up_gradient.as<double>() + row * 2 * channels;
        double* dup = dgate + channels;
        for (std::int64_t c = 0; c < channels; ++c) {
            const double z = gate[c], u = up[c]; // read first: the gradient may lie on top
            const double sigmoid = 1.0 / (1.0 + std::exp(-z));
            dgate[c] = dh[c] * u * sigmoid * (1.0 + z * (1.0 - sigmoid));
            dup[c] = dh[c] * z * sigmoid;
        }
    }
}

} // namespace sluice::kernels
