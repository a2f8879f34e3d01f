// Root-mean-square norm (Zhang and Sennrich 2019) with the factors that the residual arrangements
// need. eps stands inside the root.
// Legend: N rows (tokens), C channels.
#pragma once

#include "layers/kernels/factor.hpp"
#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// y = scale * weight * x * rstd + addend, rstd = 1 / sqrt(mean(x^2) + eps).
/// `scale` is 1, LNS's 1/sqrt(l), or a Sandwich gate alpha; `addend` is the residual stream or
/// empty.
struct RmsNormForward {
    TensorView x;        ///< [N,C] in
    TensorView weight;   ///< [C] in
    TensorView addend{}; ///< [N,C] in, or empty; may be `y` itself
    TensorView y;        ///< [N,C] overwritten
    TensorView rstd;     ///< [N] overwritten; needed by the backward pass
    Factor scale{};
    double eps = 1e-5;
};

/// dx = beta * addend + d(scale * weight * x * rstd)/dx^T dy; weight_gradient += its part, added
/// over rows in an order fixed by N, C and the types alone.
struct RmsNormBackward {
    TensorView dy;              ///< [N,C] in
    TensorView x;               ///< [N,C] in, as in the forward pass
    TensorView weight;          ///< [C] in
    TensorView rstd;            ///< [N] in
    TensorView addend{};        ///< [N,C] in, or empty; may be `dx` or `dy` itself
    TensorView dx;              ///< [N,C] overwritten; may be `dy` or `x` itself
    TensorView weight_gradient; ///< [C] ACCUMULATED
    Factor scale{};
    double beta = 1.0;
};

void run(Reference, const RmsNormForward&);
void run(Cpu, const RmsNormForward&);
void run(Cuda, const RmsNormForward&);
void run(Reference, const RmsNormBackward&);
void run(Cpu, const RmsNormBackward&);
void run(Cuda, const RmsNormBackward&);

} // namespace sluice::kernels
