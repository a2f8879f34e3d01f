// Softmax cross entropy over the vocabulary, value and gradient in one pass in place.
// Legend: N tokens, V vocabulary.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// losses[n] = logsumexp(logits[n]) - logits[n][targets[n]], in float64 on every backend; then,
/// unless gradient_scale is 0, logits = gradient_scale * (softmax(logits) - one_hot(targets)).
struct CrossEntropy {
    TensorView logits;  ///< [N,V] in; OVERWRITTEN by its gradient when gradient_scale != 0
    TensorView targets; ///< [N] i32 in, each in [0, V)
    TensorView losses;  ///< [N] f64 overwritten
    double gradient_scale = 0.0;
};

void run(Reference, const CrossEntropy&);
void run(Cpu, const CrossEntropy&);
void run(Cuda, const CrossEntropy&);

} // namespace sluice::kernels
