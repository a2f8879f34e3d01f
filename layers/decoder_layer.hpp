// A decoder layer: attention, then SwiGLU MLP, each in a residual branch (layers/residual.hpp);
// both branches are scaled by the layer's one gate.
// Legend: N tokens, C channels, F intermediate size, B sequences, H heads, T positions.
#pragma once

#include "core/arena.hpp"
#include "layers/attention.hpp"
#include "layers/residual.hpp"
#include "layers/swiglu_mlp.hpp"

#include <span>

namespace sluice {

/// What one micro-batch keeps in one layer: 8 C + 3 F numbers per token (sandwich 10 C + 3 F), norm
/// and softmax statistics aside.
struct DecoderLayerActivations {
    ResidualActivations attention_residual;
    AttentionActivations attention;
    ResidualActivations mlp_residual; ///< its x is attention_residual.y, its y the layer's output
    SwigluMlpActivations mlp;
};

struct DecoderLayerGradients {
    ResidualGradients attention_residual; ///< its x is the gradient of the layer's input
    AttentionGradients attention;
    ResidualGradients mlp_residual; ///< its y is the gradient of the layer's output
    TensorView mlp_h;               ///< [N,F] scratch
};

/// Takes memory for one layer behind the residual stream `x` [N,C], which somebody else owns.
DecoderLayerActivations allocate_activations(const ModelSpec& spec,
                                             const MicroBatchShape& micro_batch, DType dtype,
                                             const TensorView& x, Arena& arena);

class DecoderLayer {
public:
    /// `layer` counts from 0 over the model; `parameters` must hold its parameters; `cos` and `sin`
    /// [T,D/2] are the rotary tables.
    DecoderLayer(const ModelSpec& spec, std::int64_t layer, std::span<const Parameter> parameters,
                 const MicroBatchShape& micro_batch, const TensorView& cos, const TensorView& sin);

    void forward(const Stream& stream, const DecoderLayerActivations& activations,
                 double alpha) const;

    /// Gradient of the layer's input from that of its output. ACCUMULATES the norms' gradients.
    void backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                        const DecoderLayerGradients& gradients, double alpha) const;
    /// ACCUMULATES the matrices' gradients. Needs the activations, and of `gradients` what
    /// backward_input() left in attention_residual and mlp_residual (y, projected) and
    /// attention.qkv.
    void backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                         const DecoderLayerGradients& gradients, double alpha) const;
    /// Both, the same numbers to the bit, branch by branch: the two branches may then share all
    /// gradient buffers but the residual stream's.
    void backward(const Stream& stream, const DecoderLayerActivations& activations,
                  const DecoderLayerGradients& gradients, double alpha) const;

private:
    void mlp_backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                            const DecoderLayerGradients& gradients, double alpha) const;
    void mlp_backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                             const DecoderLayerGradients& gradients, double alpha) const;
    void attention_backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                                  const DecoderLayerGradients& gradients, double alpha) const;
    void attention_backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                                   const DecoderLayerGradients& gradients, double alpha) const;

    Residual attention_residual_, mlp_residual_;
    Attention attention_;
    SwigluMlp mlp_;
};

} // namespace sluice
