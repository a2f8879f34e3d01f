// Token embedding: rows of a table.
// Legend: N tokens, V vocabulary, C channels.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

struct EmbeddingForward {
    TensorView tokens; ///< [N] i32 in, each in [0, V)
    TensorView table;  ///< [V,C] in
    TensorView out;    ///< [N,C] overwritten
};

/// Rows of equal tokens add in token order.
struct EmbeddingBackward {
    TensorView tokens;         ///< [N] i32 in
    TensorView dout;           ///< [N,C] in
    TensorView table_gradient; ///< [V,C] ACCUMULATED
};

void run(Reference, const EmbeddingForward&);
void run(Cpu, const EmbeddingForward&);
void run(Cuda, const EmbeddingForward&);
void run(Reference, const EmbeddingBackward&);
void run(Cpu, const EmbeddingBackward&);
void run(Cuda, const EmbeddingBackward&);

} // namespace sluice::kernels
