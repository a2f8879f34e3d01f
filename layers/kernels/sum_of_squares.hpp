// Squared 2-norms of tensors, the parts of the global gradient norm.
#pragma once

#include "layers/kernels/launch.hpp"

#include <array>

namespace sluice::kernels {

/// results[i] = sum of x[i]^2 in float64, added in blocks fixed by the element count of x[i] alone.
/// Several at once are fewer launches on GPUs: those of a decoder layer are two.
struct SumOfSquares {
    static constexpr std::int64_t most_tensors = 16;
    std::array<TensorView, most_tensors> x{}; ///< any shapes, all of one type, in
    TensorView results;                       ///< [how many there are] f64 overwritten
};

void run(Reference, const SumOfSquares&);
void run(Cpu, const SumOfSquares&);
void run(Cuda, const SumOfSquares&);

} // namespace sluice::kernels
