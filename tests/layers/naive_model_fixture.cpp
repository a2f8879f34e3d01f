#include "tests/layers/naive_model_fixture.hpp"

#include <complex>

namespace sluice::testing {

namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

class NaiveModel {
public:
    explicit NaiveModel(ModelChunk& chunk)
        : spec_(chunk.options().model), shape_(chunk.options().micro_batch),
          parameters_(chunk.parameters())
    {
    }

    const double* weight(const std::string& name) const
    {
        return weight_of(parameters_, name + ".weight").value.as<double>();
    }

    Rows linear(const Rows& x, const std::string& name) const
    {
        const TensorView w = weight_of(parameters_, name + ".weight").value;
        Rows y(x.size(), Row(static_cast<std::size_t>(w.shape[0]), 0.0));
        for (std::size_t n = 0; n < x.size(); ++n)
            for (std::size_t o = 0; o < y[n].size(); ++o)
                for (std::size_t i = 0; i < x[n].size(); ++i)
                    y[n][o] += x[n][i] * w.as<double>()[o * x[n].size() + i];
        return y;
    }

    Rows norm(Rows x, const std::string& name, double factor = 1.0) const
    {
        const double* const w = weight(name);
        for (Row& row : x) {
            double sum = 0.0;
            for (const double v : row)
                sum += v * v;
            const double rms = std::sqrt(sum / static_cast<double>(row.size()) + spec_.norm_eps);
            for (std::size_t c = 0; c < row.size(); ++c)
                row[c] *= factor * w[c] / rms;
        }
        return x;
    }

    /// Channels i and i + D/2 of head `h` of token `n`, as one number turned by its position.
    std::complex<double> turned(const Rows& x, std::size_t n, std::size_t h, std::size_t i) const
    {
        const auto d = static_cast<std::size_t>(spec_.head_dim());
        const double position = static_cast<double>(n % static_cast<std::size_t>(shape_.seq_len));
        const double frequency =
            std::pow(spec_.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(d));
        return std::complex<double>(x[n][h * d + i], x[n][h * d + i + d / 2]) *
               std::polar(1.0, position * frequency);
    }

    Rows attention(const Rows& u, const std::string& prefix) const
    {
        const Rows q = linear(u, prefix + "self_attn.q_proj");
        const Rows k = linear(u, prefix + "self_attn.k_proj");
        const Rows v = linear(u, prefix + "self_attn.v_proj");
        const auto d = static_cast<std::size_t>(spec_.head_dim());
        const auto t = static_cast<std::size_t>(shape_.seq_len);
        Rows mixed(u.size(), Row(u[0].size(), 0.0));
        for (std::size_t n = 0; n < u.size(); ++n)
            for (std::size_t h = 0; h < static_cast<std::size_t>(spec_.num_heads); ++h) {
                double sum = 0.0;
                for (std::size_t m = n - n % t; m <= n; ++m) {
                    double score = 0.0;
                    for (std::size_t i = 0; i < d / 2; ++i)
                        score += (turned(q, n, h, i) * std::conj(turned(k, m, h, i))).real();
                    const double p = std::exp(score / std::sqrt(static_cast<double>(d)));
                    sum += p;
                    for (std::size_t i = 0; i < d; ++i)
                        mixed[n][h * d + i] += p * v[m][h * d + i];
                }
                for (std::size_t i = 0; i < d; ++i)
                    mixed[n][h * d + i] /= sum;
            }
        return linear(mixed, prefix + "self_attn.o_proj");
    }

    Rows mlp(const Rows& u, const std::string& prefix) const
    {
        Rows gate = linear(u, prefix + "mlp.gate_proj");
        const Rows up = linear(u, prefix + "mlp.up_proj");
        for (std::size_t n = 0; n < u.size(); ++n)
            for (std::size_t f = 0; f < gate[n].size(); ++f)
                gate[n][f] *= up[n][f] / (1.0 + std::exp(-gate[n][f]));
        return linear(gate, prefix + "mlp.down_proj");
    }

    /// a x + b y
    static Rows sum(double a, Rows x, double b, const Rows& y)
    {
        for (std::size_t n = 0; n < x.size(); ++n)
            for (std::size_t c = 0; c < x[n].size(); ++c)
                x[n][c] = a * x[n][c] + b * y[n][c];
        return x;
    }

    template <class Branch>
    Rows residual(const Rows& x, double alpha, const Branch& branch, const std::string& input_norm,
                  const std::string& output_norm, std::int64_t l) const
    {
        const double layers = static_cast<double>(spec_.num_layers);
        switch (spec_.arrangement) {
        case Arrangement::pre: return sum(1.0, x, alpha, branch(norm(x, input_norm)));
        case Arrangement::lns: {
            const double factor =
                spec_.lns == LnsVariant::fixed ? 1.0 / std::sqrt(static_cast<double>(l)) : 1.0;
            return sum(1.0, x, alpha, branch(norm(x, input_norm, factor)));
        }
        case Arrangement::post: return norm(sum(1.0, x, alpha, branch(x)), output_norm);
        case Arrangement::deepnorm:
            return norm(sum(std::pow(2.0 * layers, 0.25), x, alpha, branch(x)), output_norm);
        case Arrangement::sandwich:
            return sum(1.0, x, alpha, norm(branch(norm(x, input_norm)), output_norm));
        }
        return {};
    }

    Rows layer(const Rows& x, std::int64_t index, double alpha) const
    {
        const std::string p = "model.layers." + std::to_string(index) + ".";
        const std::string mlp_input = spec_.arrangement == Arrangement::sandwich
                                          ? "pre_feedforward_layernorm"
                                          : "post_attention_layernorm";
        const Rows middle = residual(
            x, alpha, [&](const Rows& u) { return attention(u, p); }, p + "input_layernorm",
            p + "post_attention_layernorm", index + 1);
        return residual(
            middle, alpha, [&](const Rows& u) { return mlp(u, p); }, p + mlp_input,
            p + "post_feedforward_layernorm", index + 1);
    }

    double loss(const Rows& x, const TensorView& targets) const
    {
        const Rows logits = linear(norm(x, "model.norm"), "lm_head");
        double total = 0.0;
        for (std::size_t n = 0; n < x.size(); ++n) {
            double sum = 0.0;
            for (const double logit : logits[n])
                sum += std::exp(logit);
            const auto target = static_cast<std::size_t>(targets.as<std::int32_t>()[n]);
            total += std::log(sum) - logits[n][target];
        }
        return total;
    }

private:
    const ModelSpec& spec_;
    MicroBatchShape shape_;
    std::span<const Parameter> parameters_;
};

} // namespace

NaiveResult naive_forward(ModelChunk& chunk, const std::vector<double>& alphas)
{
    const NaiveModel model(chunk);
    const std::int64_t c = chunk.options().model.hidden_size;
    const double* const table = model.weight("model.embed_tokens");
    Rows x;
    for (const std::int32_t token : chunk.input_tokens(0).elements<std::int32_t>())
        x.emplace_back(table + token * c, table + (token + 1) * c);
    NaiveResult result;
    for (std::int64_t layer = 0; layer < chunk.options().model.num_layers; ++layer) {
        x = model.layer(x, layer, alphas[static_cast<std::size_t>(layer)]);
        result.streams.emplace_back();
        for (const Row& row : x)
            result.streams.back().insert(result.streams.back().end(), row.begin(), row.end());
    }
    result.loss_sum = model.loss(x, chunk.target_tokens(0));
    return result;
}

} // namespace sluice::testing
