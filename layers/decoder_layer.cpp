#include "layers/decoder_layer.hpp"

#include <string>

namespace sluice {

namespace {

/// The names of a branch's norms; empty where the arrangement has none.
struct NormNames {
    const char* input;
    const char* output;
};

NormNames attention_norms(Arrangement arrangement)
{
    switch (arrangement) {
    case Arrangement::pre:
    case Arrangement::lns: return {"input_layernorm", ""};
    case Arrangement::post:
    case Arrangement::deepnorm: return {"", "post_attention_layernorm"};
    case Arrangement::sandwich: return {"input_layernorm", "post_attention_layernorm"};
    }
    SLUICE_CHECK(false, "arrangement " << static_cast<int>(arrangement));
    return {};
}

NormNames mlp_norms(Arrangement arrangement)
{
    switch (arrangement) {
    case Arrangement::pre:
    case Arrangement::lns: return {"post_attention_layernorm", ""};
    case Arrangement::post:
    case Arrangement::deepnorm: return {"", "post_feedforward_layernorm"};
    case Arrangement::sandwich: return {"pre_feedforward_layernorm", "post_feedforward_layernorm"};
    }
    SLUICE_CHECK(false, "arrangement " << static_cast<int>(arrangement));
    return {};
}

Residual make_residual(const ModelSpec& spec, std::int64_t layer,
                       std::span<const Parameter> parameters, const std::string& prefix,
                       const NormNames& norms, const char* projection)
{
    const auto norm = [&](const std::string& name, double scale) {
        RmsNorm made{.weight = {}, .scale = scale, .eps = spec.norm_eps};
        if (!name.empty())
            made.weight = weight_of(parameters, prefix + name + ".weight");
        return made;
    };
    return {.arrangement = spec.arrangement,
            .input_norm = norm(norms.input, input_norm_scale(spec, layer)),
            .output_norm = norm(norms.output, 1.0),
            .projection = weight_of(parameters, prefix + projection + ".weight"),
            .skip = skip_factor(spec)};
}

ResidualActivations allocate_residual(const ModelSpec& spec, std::int64_t num_tokens, DType dtype,
                                      const NormNames& norms, const TensorView& x, Arena& arena)
{
    const Shape stream{num_tokens, spec.hidden_size};
    ResidualActivations activations;
    activations.x = activations.u = x;
    if (*norms.input) {
        activations.u = arena.allocate(dtype, stream);
        activations.input_rstd = arena.allocate(dtype, {num_tokens});
    }
    activations.y = activations.projected = arena.allocate(dtype, stream);
    if (*norms.output) {
        activations.projected = arena.allocate(dtype, stream);
        activations.projected_rstd = arena.allocate(dtype, {num_tokens});
    }
    return activations;
}

} // namespace

DecoderLayerActivations allocate_activations(const ModelSpec& spec,
                                             const MicroBatchShape& micro_batch, DType dtype,
                                             const TensorView& x, Arena& arena)
{
    const std::int64_t n = micro_batch.num_tokens();
    const std::int64_t c = spec.hidden_size;
    const std::int64_t f = spec.intermediate_size;
    DecoderLayerActivations layer;
    layer.attention_residual =
        allocate_residual(spec, n, dtype, attention_norms(spec.arrangement), x, arena);
    layer.attention = {.qkv = arena.allocate(dtype, {n, 3 * c}),
                       .heads = arena.allocate(dtype, {n, c}),
                       .logsumexp = arena.allocate(dtype, {micro_batch.num_sequences,
                                                           spec.num_heads, micro_batch.seq_len})};
    layer.mlp_residual = allocate_residual(spec, n, dtype, mlp_norms(spec.arrangement),
                                           layer.attention_residual.y, arena);
    layer.mlp = {.gate_up = arena.allocate(dtype, {n, 2 * f}), .h = arena.allocate(dtype, {n, f})};
    return layer;
}

DecoderLayer::DecoderLayer(const ModelSpec& spec, std::int64_t layer,
                           std::span<const Parameter> parameters,
                           const MicroBatchShape& micro_batch, const TensorView& cos,
                           const TensorView& sin)
{
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    attention_residual_ = make_residual(spec, layer, parameters, prefix,
                                        attention_norms(spec.arrangement), "self_attn.o_proj");
    mlp_residual_ = make_residual(spec, layer, parameters, prefix, mlp_norms(spec.arrangement),
                                  "mlp.down_proj");
    attention_ = {.qkv = joined_weight_of(parameters, prefix + "self_attn.q_proj.weight"),
                  .cos = cos,
                  .sin = sin,
                  .micro_batch = micro_batch,
                  .num_heads = spec.num_heads};
    mlp_ = {.gate_up = joined_weight_of(parameters, prefix + "mlp.gate_proj.weight")};
}

void DecoderLayer::forward(const Stream& stream, const DecoderLayerActivations& activations,
                           double alpha) const
{
    const auto& [attention_residual, attention, mlp_residual, mlp] = activations;
    if (alpha == 0.0) {
        attention_residual_.forward_closed(stream, attention_residual);
        mlp_residual_.forward_closed(stream, mlp_residual);
        return;
    }
    attention_residual_.forward_in(stream, attention_residual);
    attention_.forward(stream, attention_residual.u, attention);
    attention_residual_.forward_out(stream, attention_residual, attention.heads, alpha);

    mlp_residual_.forward_in(stream, mlp_residual);
    mlp_.forward(stream, mlp_residual.u, mlp);
    mlp_residual_.forward_out(stream, mlp_residual, mlp.h, alpha);
}

void DecoderLayer::mlp_backward_input(const Stream& stream,
                                      const DecoderLayerActivations& activations,
                                      const DecoderLayerGradients& gradients, double alpha) const
{
    const ResidualActivations& residual = activations.mlp_residual;
    const ResidualGradients& residual_gradients = gradients.mlp_residual;
    if (alpha == 0.0) {
        mlp_residual_.backward_closed(stream, residual, residual_gradients);
        return;
    }
    mlp_residual_.backward_out(stream, residual, residual_gradients, gradients.mlp_h, alpha);
    mlp_.backward_input(stream, activations.mlp, gradients.mlp_h, residual_gradients.x,
                        mlp_residual_.input_addend(residual_gradients));
    mlp_residual_.backward_in(stream, residual, residual_gradients);
}

void DecoderLayer::mlp_backward_weight(const Stream& stream,
                                       const DecoderLayerActivations& activations,
                                       const DecoderLayerGradients& gradients, double alpha) const
{
    if (alpha == 0.0)
        return;
    mlp_residual_.backward_weight(stream, gradients.mlp_residual, activations.mlp.h, alpha);
    mlp_.backward_weight(stream, activations.mlp_residual.u, activations.mlp);
}

void DecoderLayer::attention_backward_input(const Stream& stream,
                                            const DecoderLayerActivations& activations,
                                            const DecoderLayerGradients& gradients,
                                            double alpha) const
{
    const ResidualActivations& residual = activations.attention_residual;
    const ResidualGradients& residual_gradients = gradients.attention_residual;
    if (alpha == 0.0) {
        attention_residual_.backward_closed(stream, residual, residual_gradients);
        return;
    }
    attention_residual_.backward_out(stream, residual, residual_gradients,
                                     gradients.attention.heads, alpha);
    attention_.backward_input(stream, activations.attention, gradients.attention,
                              residual_gradients.x,
                              attention_residual_.input_addend(residual_gradients));
    attention_residual_.backward_in(stream, residual, residual_gradients);
}

void DecoderLayer::attention_backward_weight(const Stream& stream,
                                             const DecoderLayerActivations& activations,
                                             const DecoderLayerGradients& gradients,
                                             double alpha) const
{
    if (alpha == 0.0)
        return;
    attention_residual_.backward_weight(stream, gradients.attention_residual,
                                        activations.attention.heads, alpha);
    attention_.backward_weight(stream, activations.attention_residual.u, gradients.attention);
}

void DecoderLayer::backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                                  const DecoderLayerGradients& gradients, double alpha) const
{
    mlp_backward_input(stream, activations, gradients, alpha);
    attention_backward_input(stream, activations, gradients, alpha);
}

void DecoderLayer::backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                                   const DecoderLayerGradients& gradients, double alpha) const
{
    mlp_backward_weight(stream, activations, gradients, alpha);
    attention_backward_weight(stream, activations, gradients, alpha);
}

void DecoderLayer::backward(const Stream& stream, const DecoderLayerActivations& activations,
                            const DecoderLayerGradients& gradients, double alpha) const
{
    mlp_backward_input(stream, activations, gradients, alpha);
    mlp_backward_weight(stream, activations, gradients, alpha);
    attention_backward_input(stream, activations, gradients, alpha);
    attention_backward_weight(stream, activations, gradients, alpha);
}

} // namespace sluice
