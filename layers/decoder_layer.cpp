#include "layers/decoder_layer.hpp"

#include "layers/kernels/elementwise.hpp"

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

bool closed(const Factor& gate) { return gate.value == 0.0; }

} // namespace

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
                           const Factor& alpha) const
{
    if (closed(alpha)) {
        attention_residual_.forward_closed(stream, activations.attention_residual);
        mlp_residual_.forward_closed(stream, activations.mlp_residual);
        return;
    }
    forward_to_mlp(stream, activations, alpha);
    mlp_residual_.forward_out(stream, activations.mlp_residual, activations.mlp.h, alpha);
}

void DecoderLayer::forward_to_mlp(const Stream& stream, const DecoderLayerActivations& activations,
                                  const Factor& alpha) const
{
    const auto& [attention_residual, attention, mlp_residual, mlp] = activations;
    attention_residual_.forward_in(stream, attention_residual);
    attention_.forward(stream, attention_residual.u, attention);
    attention_residual_.forward_out(stream, attention_residual, attention.heads, alpha);

    mlp_residual_.forward_in(stream, mlp_residual);
    mlp_.forward(stream, mlp_residual.u, mlp);
}

void DecoderLayer::recompute(const Stream& stream, const DecoderLayerActivations& activations,
                             const Factor& alpha, Recompute recompute,
                             const TensorView& unused) const
{
    const auto& [attention_residual, attention, mlp_residual, mlp] = activations;
    const bool norms_sum = mlp_residual_.norms_sum();
    if (recompute == Recompute::none || (closed(alpha) && !norms_sum))
        return; // behind a closed gate only norms of the stream itself look back
    if (recompute == Recompute::lean) {
        if (closed(alpha))
            return; // they find their inputs kept
        attention_residual_.forward_in(stream, attention_residual);
        if (norms_sum)
            attention_residual_.forward_norm(stream, attention_residual);
        mlp_residual_.forward_in(stream, mlp_residual);
        mlp_.forward_product(stream, mlp);
        return;
    }
    ResidualActivations last = mlp_residual;
    last.y = unused; // the gradient may already lie on the output
    if (closed(alpha)) {
        attention_residual_.forward_closed(stream, attention_residual);
        mlp_residual_.forward_closed(stream, last);
        return;
    }
    forward_to_mlp(stream, activations, alpha);
    if (mlp_residual_.output_norm.exists())
        mlp_residual_.forward_out(stream, last, mlp.h, alpha);
}

void DecoderLayer::mlp_backward_input(const Stream& stream,
                                      const DecoderLayerActivations& activations,
                                      const DecoderLayerGradients& gradients,
                                      const Factor& alpha) const
{
    const ResidualActivations& residual = activations.mlp_residual;
    const ResidualGradients& residual_gradients = gradients.mlp_residual;
    if (closed(alpha)) {
        mlp_residual_.backward_closed(stream, residual, residual_gradients);
        return;
    }
    mlp_residual_.backward_out(stream, residual, residual_gradients, gradients.mlp_h, alpha);
    mlp_.backward_input(stream, activations.mlp, gradients.mlp_h, residual_gradients.u,
                        mlp_residual_.input_addend(residual));
    mlp_residual_.backward_in(stream, residual, residual_gradients);
}

void DecoderLayer::mlp_backward_weight(const Stream& stream,
                                       const DecoderLayerActivations& activations,
                                       const DecoderLayerGradients& gradients,
                                       const Factor& alpha) const
{
    if (closed(alpha))
        return;
    mlp_residual_.backward_weight(stream, activations.mlp_residual, gradients.mlp_residual,
                                  activations.mlp.h, alpha);
    mlp_.backward_weight(stream, activations.mlp_residual.u, activations.mlp);
}

void DecoderLayer::attention_backward_input(const Stream& stream,
                                            const DecoderLayerActivations& activations,
                                            const DecoderLayerGradients& gradients,
                                            const Factor& alpha) const
{
    const ResidualActivations& residual = activations.attention_residual;
    const ResidualGradients& residual_gradients = gradients.attention_residual;
    if (closed(alpha)) {
        attention_residual_.backward_closed(stream, residual, residual_gradients);
        return;
    }
    attention_residual_.backward_out(stream, residual, residual_gradients,
                                     gradients.attention.heads, alpha);
    attention_.backward_input(stream, activations.attention, gradients.attention,
                              residual_gradients.u, attention_residual_.input_addend(residual));
    attention_residual_.backward_in(stream, residual, residual_gradients);
}

void DecoderLayer::attention_backward_weight(const Stream& stream,
                                             const DecoderLayerActivations& activations,
                                             const DecoderLayerGradients& gradients,
                                             const Factor& alpha) const
{
    if (closed(alpha))
        return;
    attention_residual_.backward_weight(stream, activations.attention_residual,
                                        gradients.attention_residual, activations.attention.heads,
                                        alpha);
    attention_.backward_weight(stream, activations.attention_residual.u, gradients.attention.qkv);
}

void DecoderLayer::backward_input(const Stream& stream, const DecoderLayerActivations& activations,
                                  const DecoderLayerGradients& gradients, const Factor& alpha) const
{
    mlp_backward_input(stream, activations, gradients, alpha);
    attention_backward_input(stream, activations, gradients, alpha);
}

void DecoderLayer::backward_weight(const Stream& stream, const DecoderLayerActivations& activations,
                                   const DecoderLayerGradients& gradients,
                                   const Factor& alpha) const
{
    mlp_backward_weight(stream, activations, gradients, alpha);
    attention_backward_weight(stream, activations, gradients, alpha);
}

void DecoderLayer::backward(const Stream& stream, const DecoderLayerActivations& activations,
                            const DecoderLayerGradients& gradients, const Factor& alpha) const
{
    mlp_backward_input(stream, activations, gradients, alpha);
    mlp_backward_weight(stream, activations, gradients, alpha);
    attention_backward_input(stream, activations, gradients, alpha);
    attention_backward_weight(stream, activations, gradients, alpha);
}

} // namespace sluice
