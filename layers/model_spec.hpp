// What a model is: sizes and the choices of the ProRes paper that change its mathematics.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// Where norms stand and what the residual add looks like (paper, section 3 and table of
/// arrangements): see layers/residual.hpp for the equations.
enum class Arrangement : std::uint8_t { pre, post, sandwich, deepnorm, lns };

/// LayerNorm Scaling: a fixed factor 1/sqrt(l) on the norm's output (paper), or the norm's
/// learnable weight starting at 1/sqrt(l) (the authors' code).
enum class LnsVariant : std::uint8_t { fixed, init };

/// Weight initialisation: std 0.02 everywhere; DS-Init: o and down at 0.02/sqrt(2 l); Scaled: o and
/// down at 0.02/sqrt(2 L); Xavier: every matrix of a layer at sqrt(2 / (inputs + outputs)), as
/// DeepNet and the authors' code have it for DeepNorm (docs/decisions/0016). DeepNorm multiplies
/// its v, o and MLP weights by B = (8 L)^(-1/4) on top.
enum class Init : std::uint8_t { standard, ds, scaled, xavier };

/// Truncated at two standard deviations (paper; the std is that of the untruncated normal), or
/// plain normal (the authors' code).
enum class InitDistribution : std::uint8_t { truncated_normal, normal };

/// Factor on the embedding's std: 1 (paper) or sqrt(hidden_size) (the authors' code).
enum class EmbeddingScale : std::uint8_t { one, sqrt_d };

struct ModelSpec {
    std::int64_t vocab_size = 0;
    std::int64_t hidden_size = 0;
    std::int64_t intermediate_size = 0;
    std::int64_t num_layers = 0;
    std::int64_t num_heads = 0;
    std::int64_t max_seq_len = 1024;
    Arrangement arrangement = Arrangement::pre;
    LnsVariant lns = LnsVariant::fixed;
    Init init = Init::standard;
    InitDistribution init_distribution = InitDistribution::truncated_normal;
    EmbeddingScale init_embedding_scale = EmbeddingScale::one;
    double init_std = 0.02;
    double norm_eps = 1e-5;
    double rope_base = 10000.0;

    std::int64_t head_dim() const { return hidden_size / num_heads; }
    bool operator==(const ModelSpec&) const = default;
};

std::string_view name_of(Arrangement arrangement); ///< "pre", as in run files

/// Parameters in all matrices and norms, embedding and head included.
std::int64_t num_parameters(const ModelSpec& spec);

/// FLOPs per token in each part of a model, causal attention counted. A product takes 2 per element
/// of its matrix in each of three passes: forward, input gradient, weight gradient. Attention's
/// products of scores and of values take twice as much for their gradients as forward. Looking up
/// the embedding is no product.
struct TokenFlops {
    double layer_matrices = 0.0;  ///< one decoder layer's, each pass
    double layer_attention = 0.0; ///< one decoder layer's, forward
    double head = 0.0;            ///< each pass
    /// All passes.
    double layer_total() const { return 3.0 * (layer_matrices + layer_attention); }
    double head_total() const { return 3.0 * head; }
};
TokenFlops token_flops(const ModelSpec& spec, std::int64_t seq_len);

/// Forward and backward FLOPs per token of the whole model: 6 N + 6 L d s, N the parameters in
/// matrices without the input embedding.
double flops_per_token(const ModelSpec& spec, std::int64_t seq_len);

} // namespace sluice
