#include "layers/kernels/extents.hpp"

#include <cmath>

namespace sluice::kernels {

namespace {

/// Turns q and k of every position by `direction` times the table's angle.
void rotate(const AttentionExtents& extents, double* qkv, const double* cos, const double* sin,
            double direction)
{
    const auto [sequences, positions, heads, head_dim] = extents;
    const std::int64_t half = head_dim / 2;
    for (std::int64_t b = 0; b < sequences; ++b)
        for (std::int64_t t = 0; t < positions; ++t)
            for (std::int64_t q_or_k = 0; q_or_k < 2; ++q_or_k)
                for (std::int64_t h = 0; h < heads; ++h) {
                    double* x = qkv + (((b * positions + t) * 3 + q_or_k) * heads + h) * head_dim;
                    for (std::int64_t i = 0; i < half; ++i) {
                        const double c = cos[t * half + i], s = direction * sin[t * half + i];
                        const double first = x[i], second = x[i + half];
                        x[i] = first * c - second * s;
                        x[i + half] = second * c + first * s;
                    }
                }
}

} // namespace

void run(Reference, const RotaryTable& op)
{
    const auto [positions, half] = extents_of(op);
    for (std::int64_t t = 0; t < positions; ++t)
        for (std::int64_t i = 0; i < half; ++i) {
            const double angle =
                static_cast<double>(t) *
                std::pow(op.base, -static_cast<double>(i) / static_cast<double>(half));
            op.cos.as<double>()[t * half + i] = std::cos(angle);
            op.sin.as<double>()[t * half + i] = std::sin(angle);
        }
}

void run(Reference, const RotaryForward& op)
{
    rotate(extents_of(op), op.qkv.as<double>(), op.cos.as<double>(), op.sin.as<double>(), 1.0);
}

void run(Reference, const RotaryBackward& op)
{
    rotate(extents_of(op), op.qkv_gradient.as<double>(), op.cos.as<double>(), op.sin.as<double>(),
           -1.0);
}

} // namespace sluice::kernels
