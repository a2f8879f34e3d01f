#include "layers/attention.hpp"

#include "layers/kernels/attention.hpp"
#include "layers/kernels/rotary.hpp"

namespace sluice {

Shape Attention::qkv_shape() const
{
    return {micro_batch.num_sequences, micro_batch.seq_len, 3, num_heads,
            qkv.value.shape[1] / num_heads};
}

Shape Attention::heads_shape() const
{
    return {micro_batch.num_sequences, micro_batch.seq_len, num_heads,
            qkv.value.shape[1] / num_heads};
}

void Attention::forward(const Stream& stream, const TensorView& u,
                        const AttentionActivations& activations) const
{
    linear_forward(stream, u, qkv.value, activations.qkv);
    const TensorView rotated = activations.qkv.reshape(qkv_shape());
    kernels::launch(stream, kernels::RotaryForward{.qkv = rotated, .cos = cos, .sin = sin});
    kernels::launch(stream,
                    kernels::AttentionForward{.qkv = rotated,
                                              .out = activations.heads.reshape(heads_shape()),
                                              .logsumexp = activations.logsumexp});
}

void Attention::backward_input(const Stream& stream, const AttentionActivations& activations,
                               const AttentionGradients& gradients, const TensorView& du,
                               const Addend& addend) const
{
    kernels::launch(stream,
                    kernels::AttentionBackward{.dout = gradients.heads.reshape(heads_shape()),
                                               .qkv = activations.qkv.reshape(qkv_shape()),
                                               .out = activations.heads.reshape(heads_shape()),
                                               .logsumexp = activations.logsumexp,
                                               .row_dot = gradients.row_dot,
                                               .cos = cos,
                                               .sin = sin,
                                               .qkv_gradient = gradients.qkv.reshape(qkv_shape())});
    linear_backward_input(stream, gradients.qkv, qkv.value, du, 1.0, addend);
}

void Attention::backward_weight(const Stream& stream, const TensorView& u,
                                const TensorView& dqkv) const
{
    linear_backward_weight(stream, dqkv, u, qkv.gradient);
}

} // namespace sluice
