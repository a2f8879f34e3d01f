// Rotary position embedding (Su et al. 2021), half-split pairs: channel i of a head turns with
// channel i + D/2 by the angle position * base^(-2i/D). In place on the q and k parts of qkv.
// Legend: B sequences, T positions, H heads, D channels of a head.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// Fills cos and sin, computed in float64 and rounded once.
struct RotaryTable {
    TensorView cos; ///< [T, D/2] overwritten
    TensorView sin; ///< [T, D/2] overwritten
    double base = 10000.0;
};

/// Turns q and k forward; v is untouched.
struct RotaryForward {
    TensorView qkv; ///< [B,T,3,H,D] q and k OVERWRITTEN IN PLACE
    TensorView cos; ///< [T', D/2] in, T' >= T
    TensorView sin; ///< [T', D/2] in
};

/// Turns the gradients of q and k back (the transpose of the forward rotation).
struct RotaryBackward {
    TensorView qkv_gradient; ///< [B,T,3,H,D] q and k parts OVERWRITTEN IN PLACE
    TensorView cos;          ///< [T', D/2] in
    TensorView sin;          ///< [T', D/2] in
};

void run(Reference, const RotaryTable&);
void run(Cpu, const RotaryTable&);
void run(Cuda, const RotaryTable&);
void run(Reference, const RotaryForward&);
void run(Cpu, const RotaryForward&);
void run(Cuda, const RotaryForward&);
void run(Reference, const RotaryBackward&);
void run(Cpu, const RotaryBackward&);
void run(Cuda, const RotaryBackward&);

} // namespace sluice::kernels
