// Which activations a micro-batch keeps from its forward to its backward pass, and which are
// computed again. All choices give the same bits.
#pragma once

#include <cstdint>

namespace sluice {

/// Numbers kept per token and layer, norm and softmax statistics aside (C hidden size, F
/// intermediate size), and what the backward pass repeats:
///
///     none  8 C + 3 F  (sandwich 10 C + 3 F)                        nothing
///     lean  6 C + 2 F  (sandwich 8 C + 2 F, post, deepnorm 7 C + 2 F)  norms and SwiGLU products
///     full  C          the layer's input                            the layer's forward pass
///
/// Lean leaves out the outputs of norms that the residual stream does not need at the next layer.
/// What is computed again has room for one layer in scratch, unless weight gradients come later
/// (BackwardSplit::split): then what they need of it is kept in the gradient slot, which costs a
/// micro-batch between its two backward parts what it saved before.
enum class Recompute : std::uint8_t { none, lean, full };

} // namespace sluice
