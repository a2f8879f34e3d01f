#include "layers/model_spec.hpp"

#include "core/error.hpp"

namespace sluice {

namespace {

std::int64_t norms_per_layer(Arrangement arrangement)
{
    return arrangement == Arrangement::sandwich ? 4 : 2;
}

/// Parameters in the matrices of a decoder layer: q, k, v, o and gate, up, down.
std::int64_t layer_matrix_parameters(const ModelSpec& spec)
{
    return 4 * spec.hidden_size * spec.hidden_size + 3 * spec.hidden_size * spec.intermediate_size;
}

} // namespace

std::string_view name_of(Arrangement arrangement)
{
    switch (arrangement) {
    case Arrangement::pre: return "pre";
    case Arrangement::post: return "post";
    case Arrangement::sandwich: return "sandwich";
    case Arrangement::deepnorm: return "deepnorm";
    case Arrangement::lns: return "lns";
    }
    SLUICE_CHECK(false, "arrangement " << static_cast<int>(arrangement));
    return {};
}

std::int64_t num_parameters(const ModelSpec& spec)
{
    const std::int64_t tables = 2 * spec.vocab_size * spec.hidden_size; // embedding and head
    const std::int64_t norms =
        (spec.num_layers * norms_per_layer(spec.arrangement) + 1) * spec.hidden_size;
    return tables + spec.num_layers * layer_matrix_parameters(spec) + norms;
}

TokenFlops token_flops(const ModelSpec& spec, std::int64_t seq_len)
{
    return {.layer_matrices = 2.0 * static_cast<double>(layer_matrix_parameters(spec)),
            .layer_attention = 2.0 * static_cast<double>(spec.hidden_size * seq_len),
            .head = 2.0 * static_cast<double>(spec.vocab_size * spec.hidden_size)};
}

double flops_per_token(const ModelSpec& spec, std::int64_t seq_len)
{
    const TokenFlops flops = token_flops(spec, seq_len);
    return static_cast<double>(spec.num_layers) * flops.layer_total() + flops.head_total();
}

} // namespace sluice
