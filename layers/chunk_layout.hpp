// Where everything of a chunk lies: one description, laid out on arenas that only count (the plan)
// or on real ones (the chunk), so that plan and chunk cannot differ.
//
// The gradient of the residual stream lies at the chunk's ends in the gradient slot, to be
// exchanged with other chunks. In between, where sub-layers' inputs are normed, it lies on the
// stream itself, which is dead by then, and stays for the weight gradients. Where they are not
// (post, deepnorm), the sub-layers' inputs are the stream and the weight gradients need it: there
// the gradient lies in scratch, and what weight gradients need of it on the output norms' inputs.
// A chunk with the embedding and delayed weight gradients then keeps its input's gradient in the
// gradient slot although no other chunk takes it.
#pragma once

#include "layers/decoder_layer.hpp"
#include "layers/loss_head.hpp"
#include "layers/model_chunk.hpp"

#include <vector>

namespace sluice {

struct ChunkArenas {
    Arena parameters, gradients, moments, tables;
    std::vector<Arena> slots, gradient_slots; ///< one each is enough to count
    Arena scratch;
};

/// Arenas that only count what a chunk with these options needs.
ChunkArenas count(const ModelChunkOptions& options);

struct ActivationSlot {
    TensorView input_tokens;  ///< [N] i32, with the embedding
    TensorView target_tokens; ///< [N] i32, with the head
    TensorView input;         ///< [N,C]
    TensorView output;        ///< [N,C]; `input` itself in a chunk without layers
    /// As the forward pass sees them; what is computed again lies in scratch.
    std::vector<DecoderLayerActivations> layers;
};

/// Empty views lie elsewhere.
struct GradientSlot {
    TensorView input;                            ///< [N,C]
    TensorView output;                           ///< [N,C]
    std::vector<DecoderLayerActivations> layers; ///< what is computed again for weight gradients
};

/// Shared by all layers and slots.
struct LayerScratch {
    DecoderLayerActivations activations; ///< what is computed again
    TensorView stream_gradient;          ///< [N,C] at a place of the stream, or inside a branch
    AttentionGradients attention;        ///< its heads are stream_gradient
    TensorView mlp_h;                    ///< [N,F]
    TensorView unused_output;            ///< [N,C], on mlp_h: of a layer that is computed again
};

/// What the backward pass of one layer works on.
struct LayerBackward {
    DecoderLayerActivations activations;
    DecoderLayerGradients gradients;
};

struct ChunkLayout {
    ModelSpec model;
    std::vector<Parameter> parameters;
    std::vector<ActivationSlot> slots;
    std::vector<GradientSlot> gradient_slots;
    LayerScratch scratch;
    TensorView cos, sin;         ///< [T,D/2]
    TensorView gates;            ///< [num_layers] f32, on GPUs
    TensorView adamw_factors;    ///< [2, num_adamw_factors] f32, on GPUs: with decay, without
    TensorView stream_squares;   ///< [max(1, num_layers)] f64, of the residual stream
    TensorView gradient_squares; ///< [num_parameters] f64
    LossHeadScratch loss_head;   ///< with the head

    /// [N,C] gradients at the chunk's two ends.
    TensorView input_gradient(const ActivationSlot& slot, const GradientSlot& gradients) const;
    TensorView output_gradient(const ActivationSlot& slot, const GradientSlot& gradients) const;
    /// `layer` counts from 0 in this chunk, here and below.
    /// [N,3C] where a delayed weight gradient finds it: on the dead qkv of the layer behind, since
    /// attention reads its own to the end; the last layer's on that of the first.
    TensorView kept_qkv_gradient(std::size_t layer, const ActivationSlot& slot,
                                 const GradientSlot& gradients) const;
    LayerBackward backward_of(std::size_t layer, const ActivationSlot& slot,
                              const GradientSlot& gradients) const;
};

ChunkLayout lay_out(const ModelChunkOptions& options, ChunkArenas& arenas);

ChunkMemory memory_of(const ChunkArenas& arenas);

} // namespace sluice
