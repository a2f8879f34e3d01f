// The activations of one decoder layer: what there is, and what of it is kept.
// Legend: N tokens, C channels, F intermediate size.
#pragma once

#include "core/arena.hpp"
#include "layers/attention.hpp"
#include "layers/precision.hpp"
#include "layers/recompute.hpp"
#include "layers/residual.hpp"
#include "layers/swiglu_mlp.hpp"

namespace sluice {

/// Everything the forward pass of one layer leaves for its backward pass.
///
/// The backward pass writes over what it no longer needs, so that the weight gradients can come
/// later without more memory: qkv, gate_up and the output norms' inputs become their gradients,
/// and, in arrangements that norm the sub-layers' inputs, the residual stream becomes its own.
struct DecoderLayerActivations {
    ResidualActivations attention_residual; ///< its x is the layer's input
    AttentionActivations attention;
    ResidualActivations mlp_residual; ///< its x is attention_residual.y, its y the layer's output
    SwigluMlpActivations mlp;
};

/// Under a choice of Recompute: what lives from the forward to the backward pass; what is computed
/// again and lives until the weight gradients; what is computed again for the input gradient only.
enum class ActivationPart : std::uint8_t { kept, recomputed_for_weights, recomputed_for_input };

/// Takes memory for one part of a layer's activations and leaves the others empty. The layer's
/// input belongs to whoever stands in front of the layer.
DecoderLayerActivations allocate_activations(const ModelSpec& spec,
                                             const MicroBatchShape& micro_batch,
                                             const Precision& precision, Recompute recompute,
                                             ActivationPart part, Arena& arena);

/// `activations` with those that `other` has in place of its own.
DecoderLayerActivations overlay(DecoderLayerActivations activations,
                                const DecoderLayerActivations& other);

/// Sets the views that are others by another name: the layer's input `x`, what an arrangement
/// without a norm reads in place of the norm's output, and the stream between the branches.
void link(const ModelSpec& spec, const TensorView& x, DecoderLayerActivations& activations);

} // namespace sluice
