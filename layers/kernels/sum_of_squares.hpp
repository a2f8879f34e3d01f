// Squared 2-norm of one tensor, the parts of the global gradient norm.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// result[0] = sum of x^2 in float64, added in blocks fixed by the element count alone.
struct SumOfSquares {
    TensorView x;      ///< any shape, in
    TensorView result; ///< [1] f64 overwritten
};

void run(Reference, const SumOfSquares&);
void run(Cpu, const SumOfSquares&);
void run(Cuda, const SumOfSquares&);

} // namespace sluice::kernels
