// SwiGLU gating (Shazeer 2020): h = silu(gate) * up, silu(z) = z / (1 + exp(-z)).
// Legend: N rows (tokens), F channels. gate_up holds gate in [0,F) and up in [F,2F) of each row.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

struct SwigluForward {
    TensorView gate_up; ///< [N,2F] in
    TensorView h;       ///< [N,F] overwritten
};

struct SwigluBackward {
    TensorView dh;               ///< [N,F] in
    TensorView gate_up;          ///< [N,2F] in
    TensorView gate_up_gradient; ///< [N,2F] overwritten; may be `gate_up` itself
};

void run(Reference, const SwigluForward&);
void run(Cpu, const SwigluForward&);
void run(Cuda, const SwigluForward&);
void run(Reference, const SwigluBackward&);
void run(Cpu, const SwigluBackward&);
void run(Cuda, const SwigluBackward&);

} // namespace sluice::kernels
