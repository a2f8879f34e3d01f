#include "layers/parameter.hpp"

#include <cmath>

namespace sluice {

namespace {

/// Writes the specs of one decoder layer. Factors on the initial standard deviation: `output` for
/// o and down (DS-Init, Scaled), `deepnorm` for v, o and the MLP.
class LayerWriter {
public:
    LayerWriter(const ModelSpec& spec, std::int64_t layer, std::vector<ParameterSpec>& out)
        : spec_(spec), layer_(layer), out_(out)
    {
    }

    void write()
    {
        const std::int64_t c = spec_.hidden_size;
        const std::int64_t f = spec_.intermediate_size;
        const double b = deepnorm_factor();
        const double output = output_factor();
        matrix("self_attn.q_proj", {c, c}, 1.0, false);
        matrix("self_attn.k_proj", {c, c}, 1.0, true);
        matrix("self_attn.v_proj", {c, c}, b, true);
        matrix("self_attn.o_proj", {c, c}, b * output, false);
        matrix("mlp.gate_proj", {f, c}, b, false);
        matrix("mlp.up_proj", {f, c}, b, true);
        matrix("mlp.down_proj", {c, f}, b * output, false);
        norms();
    }

private:
    std::string name(const char* part) const
    {
        return "model.layers." + std::to_string(layer_) + "." + part + ".weight";
    }

    void matrix(const char* part, const Shape& shape, double std_factor, bool continues)
    {
        out_.push_back({.name = name(part),
                        .shape = shape,
                        .layer = layer_,
                        .decayed = true,
                        .continues = continues,
                        .init_std = std_before_factors(shape) * std_factor});
    }

    double std_before_factors(const Shape& shape) const
    {
        if (spec_.init != Init::xavier)
            return spec_.init_std;
        return std::sqrt(2.0 / static_cast<double>(shape[0] + shape[1]));
    }

    void norm(const char* part)
    {
        const bool starts_scaled =
            spec_.arrangement == Arrangement::lns && spec_.lns == LnsVariant::init;
        const double start = starts_scaled ? 1.0 / std::sqrt(static_cast<double>(layer_ + 1)) : 1.0;
        out_.push_back({.name = name(part),
                        .shape = {spec_.hidden_size},
                        .layer = layer_,
                        .decayed = false,
                        .init_constant = start});
    }

    void norms()
    {
        switch (spec_.arrangement) {
        case Arrangement::pre:
        case Arrangement::lns:
            norm("input_layernorm");
            norm("post_attention_layernorm");
            return;
        case Arrangement::post:
        case Arrangement::deepnorm:
            norm("post_attention_layernorm");
            norm("post_feedforward_layernorm");
            return;
        case Arrangement::sandwich:
            norm("input_layernorm");
            norm("post_attention_layernorm");
            norm("pre_feedforward_layernorm");
            norm("post_feedforward_layernorm");
            return;
        }
    }

    /// B of DeepNorm, decoder only.
    double deepnorm_factor() const
    {
        if (spec_.arrangement != Arrangement::deepnorm)
            return 1.0;
        return std::pow(8.0 * static_cast<double>(spec_.num_layers), -0.25);
    }

    double output_factor() const
    {
        switch (spec_.init) {
        case Init::standard:
        case Init::xavier: return 1.0;
        case Init::ds: return 1.0 / std::sqrt(2.0 * static_cast<double>(layer_ + 1));
        case Init::scaled: return 1.0 / std::sqrt(2.0 * static_cast<double>(spec_.num_layers));
        }
        SLUICE_CHECK(false, "init " << static_cast<int>(spec_.init));
        return 0.0;
    }

    const ModelSpec& spec_;
    std::int64_t layer_;
    std::vector<ParameterSpec>& out_;
};

ParameterSpec embedding_spec(const ModelSpec& spec)
{
    const double factor = spec.init_embedding_scale == EmbeddingScale::sqrt_d
                              ? std::sqrt(static_cast<double>(spec.hidden_size))
                              : 1.0;
    return {.name = "model.embed_tokens.weight",
            .shape = {spec.vocab_size, spec.hidden_size},
            .decayed = false,
            .init_std = spec.init_std * factor};
}

} // namespace

std::vector<ParameterSpec> parameters_of(const ModelSpec& spec, const LayerRange& range)
{
    SLUICE_CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= spec.num_layers,
                 "layers [" << range.begin << ", " << range.end << ") of " << spec.num_layers);
    std::vector<ParameterSpec> parameters;
    std::int64_t index = 0;
    const auto number_from = [&](std::size_t first) {
        for (std::size_t i = first; i < parameters.size(); ++i)
            parameters[i].index = index++;
    };
    if (range.embedding) {
        parameters.push_back(embedding_spec(spec));
        number_from(0);
    }
    const std::int64_t per_layer = spec.arrangement == Arrangement::sandwich ? 11 : 9;
    for (std::int64_t layer = range.begin; layer < range.end; ++layer) {
        const std::size_t first = parameters.size();
        LayerWriter(spec, layer, parameters).write();
        SLUICE_CHECK(static_cast<std::int64_t>(parameters.size() - first) == per_layer,
                     parameters.size() - first << " parameters in layer " << layer);
        index = 1 + layer * per_layer;
        number_from(first);
    }
    if (range.head) {
        const std::size_t first = parameters.size();
        parameters.push_back({.name = "model.norm.weight",
                              .shape = {spec.hidden_size},
                              .decayed = false,
                              .init_constant = 1.0});
        parameters.push_back({.name = "lm_head.weight",
                              .shape = {spec.vocab_size, spec.hidden_size},
                              .init_std = spec.init_std});
        index = 1 + spec.num_layers * per_layer;
        number_from(first);
    }
    return parameters;
}

std::vector<ParameterSpec> parameters_of(const ModelSpec& spec)
{
    return parameters_of(spec,
                         {.begin = 0, .end = spec.num_layers, .embedding = true, .head = true});
}

} // namespace sluice
