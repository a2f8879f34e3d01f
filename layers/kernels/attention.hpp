// Causal self-attention, softmax(q k^T / sqrt(D)) v, in tiles: never a full score matrix.
// Legend: B sequences, T positions, H heads, D channels of a head; C = H D.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// Widest heads that backends take; reference: any.
inline constexpr std::int64_t max_head_dim_on_cpus = 256, max_head_dim_on_gpus = 128;

struct AttentionForward {
    TensorView qkv;       ///< [B,T,3,H,D] in, already rotated
    TensorView out;       ///< [B,T,H,D] overwritten
    TensorView logsumexp; ///< [B,H,T] overwritten: log sum exp of each row's scaled scores
};

/// Recomputes the probabilities tile by tile from qkv and logsumexp. The gradients of q and k are
/// those from before their rotation: turned back as by RotaryBackward, with its bits.
struct AttentionBackward {
    TensorView dout;         ///< [B,T,H,D] in
    TensorView qkv;          ///< [B,T,3,H,D] in, rotated by cos and sin
    TensorView out;          ///< [B,T,H,D] in
    TensorView logsumexp;    ///< [B,H,T] in
    TensorView row_dot;      ///< [B,H,T] scratch, overwritten: sum over D of dout * out
    TensorView cos;          ///< [T', D/2] in, T' >= T
    TensorView sin;          ///< [T', D/2] in
    TensorView qkv_gradient; ///< [B,T,3,H,D] overwritten
};

void run(Reference, const AttentionForward&);
void run(Cpu, const AttentionForward&);
void run(Cuda, const AttentionForward&);
void run(Reference, const AttentionBackward&);
void run(Cpu, const AttentionBackward&);
void run(Cuda, const AttentionBackward&);

} // namespace sluice::kernels
