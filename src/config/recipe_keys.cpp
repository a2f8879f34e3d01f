#include "core/error.hpp"
#include "src/config/presets.hpp"
#include "src/config/run_key_tables.hpp"

namespace sluice {

namespace {

constexpr RealRange divisor{least_real, most_real};
constexpr RealRange fraction{0.0, 1.0};
constexpr RealRange below_one{0.0, 1.0, false, true};

const Names arrangement_names{"pre", "post", "sandwich", "deepnorm", "lns"};
const Names lns_names{"fixed", "init"};
const Names init_names{"default", "ds", "scaled", "xavier"};
const Names distribution_names{"truncated_normal", "normal"};
const Names embedding_scale_names{"one", "sqrt_d"};
const Names learning_rate_names{"wsd", "cosine", "linear", "constant"};

Names prores_names()
{
    const auto names = warmup_schedule_names();
    return {names.begin(), names.end()};
}

void set_preset(RunConfig& config, const ConfigValue& value)
{
    // The sizes themselves were applied before any other key (apply_preset).
    const bool none = std::holds_alternative<std::string>(value.payload) && text_of(value).empty();
    config.preset = none ? "" : preset_names()[choice_of(value, preset_names())];
}

void set_total_warmup(RunConfig& config, const ConfigValue& value)
{
    // T itself follows once the number of layers is known (settle_warmup_steps).
    config.prores.warmup_steps = integer_in(value, 1, many);
}

void set_betas(RunConfig& config, const ConfigValue& value)
{
    const auto& betas = numbers_of(value);
    if (betas.size() != 2)
        throw usage_error("expected two numbers, found " + std::to_string(betas.size()),
                          value.where, "write both, like [0.9, 0.95]");
    const auto beta = [&](std::size_t i) {
        return real_in({betas[i], value.where, value.base}, below_one);
    };
    config.optimizer.beta1 = beta(0);
    config.optimizer.beta2 = beta(1);
}

std::vector<RunKey> model_keys()
{
    using enum KeyEffect;
    return {
        {"model", "preset", layout, set_preset,
         [](const RunConfig& c) -> ConfigPayload { return c.preset; }},
        integer_key(
            "model", "vocab_size", result, [](auto& c) -> auto& { return c.model.vocab_size; }, 2,
            many),
        integer_key(
            "model", "hidden_size", result, [](auto& c) -> auto& { return c.model.hidden_size; }, 2,
            1 << 20),
        integer_key(
            "model", "intermediate_size", result,
            [](auto& c) -> auto& { return c.model.intermediate_size; }, 1, 1 << 22),
        integer_key(
            "model", "num_layers", result, [](auto& c) -> auto& { return c.model.num_layers; }, 1,
            100'000),
        integer_key(
            "model", "num_heads", result, [](auto& c) -> auto& { return c.model.num_heads; }, 1,
            1 << 19),
        integer_key(
            "model", "max_seq_len", result, [](auto& c) -> auto& { return c.model.max_seq_len; }, 1,
            1 << 24),
        choice_key(
            "model", "arrangement", result, [](auto& c) -> auto& { return c.model.arrangement; },
            arrangement_names),
        choice_key(
            "model", "lns", result, [](auto& c) -> auto& { return c.model.lns; }, lns_names),
        choice_key(
            "model", "init", result, [](auto& c) -> auto& { return c.model.init; }, init_names),
        choice_key(
            "model", "init_distribution", result,
            [](auto& c) -> auto& { return c.model.init_distribution; }, distribution_names),
        choice_key(
            "model", "init_embedding_scale", result,
            [](auto& c) -> auto& { return c.model.init_embedding_scale; }, embedding_scale_names),
        real_key(
            "model", "init_std", result, [](auto& c) -> auto& { return c.model.init_std; },
            positive),
        real_key(
            "model", "norm_eps", result, [](auto& c) -> auto& { return c.model.norm_eps; },
            divisor),
        real_key(
            "model", "rope_base", result, [](auto& c) -> auto& { return c.model.rope_base; },
            positive),
    };
}

std::vector<RunKey> training_keys()
{
    using enum KeyEffect;
    return {
        choice_key(
            "prores", "schedule", result, [](auto& c) -> auto& { return c.prores.schedule; },
            prores_names()),
        integer_key(
            "prores", "warmup_steps", result,
            [](auto& c) -> auto& { return c.prores.warmup_steps; }, 1, many),
        {"prores", "total_warmup_steps", result, set_total_warmup, {}},
        real_key(
            "optimizer", "lr", result, [](auto& c) -> auto& { return c.optimizer.lr; }, positive),
        {"optimizer", "betas", result, set_betas,
         [](const RunConfig& c) -> ConfigPayload {
             return std::vector<double>{c.optimizer.beta1, c.optimizer.beta2};
         }},
        real_key(
            "optimizer", "eps", result, [](auto& c) -> auto& { return c.optimizer.eps; }, divisor),
        real_key(
            "optimizer", "weight_decay", result,
            [](auto& c) -> auto& { return c.optimizer.weight_decay; }, not_negative),
        real_key(
            "optimizer", "grad_clip", result,
            [](auto& c) -> auto& { return c.optimizer.grad_clip; }, not_negative),
        choice_key(
            "lr_schedule", "kind", result, [](auto& c) -> auto& { return c.lr_schedule.kind; },
            learning_rate_names),
        integer_key(
            "lr_schedule", "warmup_steps", result,
            [](auto& c) -> auto& { return c.lr_schedule.warmup_steps; }, 0, many),
        real_key(
            "lr_schedule", "decay_fraction", result,
            [](auto& c) -> auto& { return c.lr_schedule.decay_fraction; }, fraction),
        real_key(
            "lr_schedule", "min_lr_ratio", result,
            [](auto& c) -> auto& { return c.lr_schedule.min_lr_ratio; }, fraction),
        integer_key(
            "batch", "global_batch_size", result,
            [](auto& c) -> auto& { return c.batch.global_batch_size; }, 1, 10'000'000),
        integer_key(
            "batch", "micro_batch_size", result,
            [](auto& c) -> auto& { return c.batch.micro_batch_size; }, 1, 10'000'000),
        integer_key(
            "batch", "seq_len", result, [](auto& c) -> auto& { return c.batch.seq_len; }, 1,
            1 << 24),
    };
}

} // namespace

std::vector<RunKey> recipe_keys()
{
    std::vector<RunKey> keys = model_keys();
    const std::vector<RunKey> training = training_keys();
    keys.insert(keys.end(), training.begin(), training.end());
    return keys;
}

std::string_view name_of(LearningRateKind kind)
{
    return learning_rate_names.at(static_cast<std::size_t>(kind));
}

} // namespace sluice
