// A decoder layer: attention, then SwiGLU MLP, each in a residual branch (layers/residual.hpp);
// both branches are scaled by the layer's one gate.
// Legend: N tokens, C channels, F intermediate size, B sequences, H heads, T positions.
#pragma once

#include "layers/layer_activations.hpp"

#include <span>

namespace sluice {

struct DecoderLayerGradients {
    ResidualGradients attention_residual; ///< its x is the gradient of the layer's input
    AttentionGradients attention;
    ResidualGradients mlp_residual; ///< its y is the gradient of the layer's output
    TensorView mlp_h;               ///< [N,F] scratch
};

class DecoderLayer {
public:
    /// `layer` counts from 0 over the model; `parameters` must hold its parameters; `cos` and `sin`
    /// [T,D/2] are the rotary tables.
    DecoderLayer(const ModelSpec& spec, std::int64_t layer, std::span<const Parameter> parameters,
                 const MicroBatchShape& micro_batch, const TensorView& cos, const TensorView& sin);

    void forward(const Stream& stream, const DecoderLayerActivations& activations,
                 const Factor& alpha) const;

    /// Computes again, with the same bits, what `recompute` does not keep and the backward pass at
    /// this gate reads. `unused` [N,C] is scratch for the layer's output, which may be computed on
    /// the way.
    void recompute(const Stream& stream, const DecoderLayerActivations& activations,
                   const Factor& alpha, Recompute recompute, const TensorView& unused) const;

    /// Gradient of the layer's input from that of its output. ACCUMULATES the norms' gradients.
    /// Leaves in `activations` and in the gradient of qkv what backward_weight() needs.
    void backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                        const DecoderLayerGradients& gradients, const Factor& alpha) const;
    /// ACCUMULATES the matrices' gradients. Of `gradients` needs that of qkv, and in pre and lns
    /// the residual stream's (y).
    void backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                         const DecoderLayerGradients& gradients, const Factor& alpha) const;
    /// Both, the same numbers to the bit, branch by branch.
    void backward(const Stream& stream, const DecoderLayerActivations& activations,
                  const DecoderLayerGradients& gradients, const Factor& alpha) const;

private:
    /// All but the last product and its add.
    void forward_to_mlp(const Stream& stream, const DecoderLayerActivations& activations,
                        const Factor& alpha) const;
    void mlp_backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                            const DecoderLayerGradients& gradients, const Factor& alpha) const;
    void mlp_backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                             const DecoderLayerGradients& gradients, const Factor& alpha) const;
    void attention_backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                                  const DecoderLayerGradients& gradients,
                                  const Factor& alpha) const;
    void attention_backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                                   const DecoderLayerGradients& gradients,
                                   const Factor& alpha) const;

    Residual attention_residual_, mlp_residual_;
    Attention attention_;
    SwigluMlp mlp_;
};

} // namespace sluice
