// The MLP sub-layer up to its output projection: h = silu(u Wgate^T) * (u Wup^T).
// The output (down) projection belongs to the residual add (layers/residual.hpp).
// Legend: N tokens, C channels, F intermediate size.
#pragma once

#include "layers/linear.hpp"

namespace sluice {

/// What the forward pass leaves for the backward pass.
struct SwigluMlpActivations {
    TensorView gate_up; ///< [N,2F]; backward_input() OVERWRITES it by its own gradient
    TensorView h;       ///< [N,F]
};

struct SwigluMlp {
    Weight gate_up; ///< [2F,C], gate above up

    /// u [N,C] in; fills `activations`.
    void forward(const Stream& stream, const TensorView& u,
                 const SwigluMlpActivations& activations) const;

    /// h from gate_up, the last step of forward().
    void forward_product(const Stream& stream, const SwigluMlpActivations& activations) const;

    /// dh [N,F] in; activations.gate_up becomes its gradient, so this can run once per forward;
    /// du [N,C] = gradient + addend overwritten.
    void backward_input(const Stream& stream, const SwigluMlpActivations& activations,
                        const TensorView& dh, const TensorView& du, const Addend& addend) const;

    /// After backward_input(). ACCUMULATES the gradient of `gate_up`.
    void backward_weight(const Stream& stream, const TensorView& u,
                         const SwigluMlpActivations& activations) const;
};

} // namespace sluice
