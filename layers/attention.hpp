// The attention sub-layer up to its output projection:
//     heads = causal_attention(rotary(u Wqkv^T)).
// The output projection belongs to the residual add (layers/residual.hpp), which carries its gate.
// Legend: B sequences, T positions, N = B T tokens, H heads, D channels of a head, C = H D.
#pragma once

#include "layers/linear.hpp"
#include "layers/micro_batch.hpp"

namespace sluice {

/// What the forward pass leaves for the backward pass.
struct AttentionActivations {
    TensorView qkv;       ///< [N,3C] rotated; q, k, v behind one another in each row
    TensorView heads;     ///< [N,C]
    TensorView logsumexp; ///< [B,H,T]
};

struct AttentionGradients {
    TensorView heads;   ///< [N,C] scratch, the gradient that comes from the output projection
    TensorView row_dot; ///< [B,H,T] scratch
    TensorView qkv;     ///< [N,3C] overwritten
};

struct Attention {
    Weight qkv;          ///< [3C,C]
    TensorView cos, sin; ///< [T,D/2] rotary tables
    MicroBatchShape micro_batch;
    std::int64_t num_heads = 0;

    /// u [N,C] in; fills `activations`.
    void forward(const Stream& stream, const TensorView& u,
                 const AttentionActivations& activations) const;

    /// From gradients.heads: gradients.qkv overwritten, du [N,C] = gradient + addend overwritten.
    /// du may be gradients.heads.
    void backward_input(const Stream& stream, const AttentionActivations& activations,
                        const AttentionGradients& gradients, const TensorView& du,
                        const Addend& addend) const;

    /// dqkv [N,3C] in, what backward_input() left in gradients.qkv. ACCUMULATES the gradient of
    /// `qkv`.
    void backward_weight(const Stream& stream, const TensorView& u, const TensorView& dqkv) const;

private:
    Shape qkv_shape() const;   ///< [B,T,3,H,D]
    Shape heads_shape() const; ///< [B,T,H,D]
};

} // namespace sluice
