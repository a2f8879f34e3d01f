// Where everything of a chunk lies: one description, laid out on arenas that only count (the plan)
// or on real ones (the chunk), so that plan and chunk cannot differ.
//
// The gradient of the residual stream passes 2 L + 1 places: behind each of the chunk's 2 L
// branches, and in front of the first. Without delayed weight gradients two buffers in turn serve
// the inner ones.
#pragma once

#include "layers/decoder_layer.hpp"
#include "layers/loss_head.hpp"
#include "layers/model_chunk.hpp"

#include <vector>

namespace sluice {

struct ChunkArenas {
    Arena parameters, moments, tables;
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
    std::vector<DecoderLayerActivations> layers;
};

struct GradientSlot {
    TensorView input;  ///< [N,C]
    TensorView output; ///< [N,C]
    std::vector<DecoderLayerGradients> layers;
};

struct ChunkLayout {
    std::vector<Parameter> parameters;
    std::vector<ActivationSlot> slots;
    std::vector<GradientSlot> gradient_slots;
    TensorView cos, sin;       ///< [T,D/2]
    TensorView sum_of_squares; ///< [1] f64
    LossHeadScratch loss_head; ///< with the head
};

/// f32 on the cpu backend, f64 on the reference.
DType compute_dtype(Backend backend);

ChunkLayout lay_out(const ModelChunkOptions& options, ChunkArenas& arenas);

ChunkMemory memory_of(const ChunkArenas& arenas);

} // namespace sluice
