#include "src/config/run_key.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/schedule_family.hpp"
#include "src/config/presets.hpp"
#include "src/config/run_key_kinds.hpp"
#include "src/config/update_ranges.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace sluice {

namespace {

constexpr std::int64_t many = 1'000'000'000;
/// What single precision holds, in which nearly all of it is used.
constexpr double most_real = 1e37, least_real = 1e-37;
constexpr RealRange positive{0.0, most_real, true};
constexpr RealRange not_negative{0.0, most_real};
constexpr RealRange divisor{least_real, most_real};
constexpr RealRange fraction{0.0, 1.0};
constexpr RealRange below_one{0.0, 1.0, false, true};

const Names arrangement_names{"pre", "post", "sandwich", "deepnorm", "lns"};
const Names lns_names{"fixed", "init"};
const Names init_names{"default", "ds", "scaled"};
const Names distribution_names{"truncated_normal", "normal"};
const Names embedding_scale_names{"one", "sqrt_d"};
const Names learning_rate_names{"wsd", "cosine", "linear", "constant"};
const Names recompute_names{"none", "lean", "full"};
const Names transport_names{"auto", "mpi", "nccl", "staged"};
const Names precision_names{"fp32", "fp64", "bf16", "pure-bf16", "auto"};
const Names attention_names{"own", "cudnn"};
const Names write_failure_names{"stop", "continue"};
const Names device_names{"auto", "cpu", "cuda"};
const Names nonfinite_names{"stop", "skip", "rewind"};
const Names spike_names{"stop", "skip", "rewind", "warn"};

Names prores_names()
{
    const auto names = warmup_schedule_names();
    return {names.begin(), names.end()};
}

const Names pipeline_schedule_names = [] {
    Names names;
    for (const ScheduleFamily family : all_schedule_families)
        names.emplace_back(name_of(family));
    names.insert(names.end(), {"custom", "auto"});
    return names;
}();

constexpr std::string_view no_zb_h2 =
    "takes twice the memory of zb-h1 and gains nothing where clipping needs the whole gradient; "
    "write zb-h1, or zb-v";
constexpr std::string_view no_dualpipe =
    "holds the parameters twice and idles longer than zb-v in dense models; write zb-v";
constexpr std::string_view no_fp16 =
    "needs its losses scaled to keep gradients in range and is not in this version; write bf16";
constexpr std::string_view no_fp8 = "is not in this version; write bf16";
constexpr std::string_view say_cuda = "is called \"cuda\" here";
constexpr std::string_view no_warning =
    "would write numbers that are not finite into the weights; write stop, skip or rewind";

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

void set_traced_updates(RunConfig& config, const ConfigValue& value)
{
    // One update may be given as a number.
    const auto* number = std::get_if<std::int64_t>(&value.payload);
    config.trace.updates = number != nullptr ? std::to_string(*number) : text_of(value);
    parse_update_ranges(config.trace.updates, value.where);
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

std::vector<RunKey> running_keys()
{
    using enum KeyEffect;
    return {
        choice_key("pipeline", "schedule", layout,
                   [](auto& c) -> auto& { return c.pipeline.schedule; }, pipeline_schedule_names,
                   {{"interleaved", "is one of two: write interleaved-1f1b or interleaved-zb"},
                    {"zb-h2", no_zb_h2},
                    {"dualpipe", no_dualpipe},
                    {"dualpipev", no_dualpipe},
                    {"v-min", "is not in this version; v-half needs the least memory here"}}),
        integer_key(
            "pipeline", "chunks_per_rank", layout,
            [](auto& c) -> auto& { return c.pipeline.chunks_per_rank; }, 1, 10'000),
        integer_key(
            "pipeline", "replicas", rounding, [](auto& c) -> auto& { return c.pipeline.replicas; },
            1, 1'000'000),
        {"pipeline", "partition", layout,
         [](RunConfig& c, const ConfigValue& v) { c.pipeline.partition = text_of(v); },
         [](const RunConfig& c) -> ConfigPayload { return c.pipeline.partition; }},
        integer_key(
            "pipeline", "extra_warmup", layout,
            [](auto& c) -> auto& { return c.pipeline.extra_warmup; }, 0, 1'000'000),
        path_key(
            "pipeline", "schedule_file", layout,
            [](auto& c) -> auto& { return c.pipeline.schedule_file; }),
        choice_key(
            "pipeline", "recompute", layout, [](auto& c) -> auto& { return c.pipeline.recompute; },
            recompute_names),
        choice_key(
            "pipeline", "transport", layout, [](auto& c) -> auto& { return c.pipeline.transport; },
            transport_names),
        {"pipeline", "verify_transfers", layout,
         [](RunConfig& c, const ConfigValue& v) {
             // "auto" was the default while it depended on the device.
             const auto* const word = std::get_if<std::string>(&v.payload);
             c.pipeline.verify_transfers = (word != nullptr && *word == "auto") || boolean_of(v);
         },
         [](const RunConfig& c) -> ConfigPayload { return c.pipeline.verify_transfers; }},
        switch_key(
            "pipeline", "graphs", layout, [](auto& c) -> auto& { return c.pipeline.graphs; },
            "true on GPUs where layers are small"),
        path_key(
            "data", "train", result, [](auto& c) -> auto& { return c.data.train; }),
        {"data", "train_checksum", result,
         [](RunConfig& c, const ConfigValue& v) { c.data.train_checksum = text_of(v); },
         [](const RunConfig& c) -> ConfigPayload { return c.data.train_checksum; }},
        path_key(
            "data", "validation", layout, [](auto& c) -> auto& { return c.data.validation; }),
        choice_key("precision", "compute", result, [](auto& c) -> auto& { return c.precision; },
                   precision_names, {{"fp16", no_fp16}, {"fp8", no_fp8}}),
        boolean_key(
            "precision", "tf32", result, [](auto& c) -> auto& { return c.tf32; }),
        choice_key(
            "precision", "attention", result, [](auto& c) -> auto& { return c.attention; },
            attention_names),
        integer_key(
            "checkpoint", "every_updates", layout,
            [](auto& c) -> auto& { return c.checkpoint.every_updates; }, 0, many),
        integer_key(
            "checkpoint", "keep_last", layout,
            [](auto& c) -> auto& { return c.checkpoint.keep_last; }, 0, many),
        integer_key(
            "checkpoint", "keep_every", layout,
            [](auto& c) -> auto& { return c.checkpoint.keep_every; }, 0, many),
        switch_key(
            "checkpoint", "asynchronous", layout,
            [](auto& c) -> auto& { return c.checkpoint.asynchronous; },
            "true where the memory is there"),
        choice_key(
            "checkpoint", "on_failure", layout,
            [](auto& c) -> auto& { return c.checkpoint.on_failure; }, write_failure_names),
        choice_key("anomaly", "on_nonfinite", layout,
                   [](auto& c) -> auto& { return c.anomaly.on_nonfinite; }, nonfinite_names,
                   {{"warn", no_warning}}),
        real_key(
            "anomaly", "loss_spike_sigma", layout,
            [](auto& c) -> auto& { return c.anomaly.loss_spike_sigma; }, not_negative),
        integer_key(
            "anomaly", "spike_window", layout,
            [](auto& c) -> auto& { return c.anomaly.spike_window; }, 2, 10'000),
        choice_key(
            "anomaly", "on_spike", layout, [](auto& c) -> auto& { return c.anomaly.on_spike; },
            spike_names),
        integer_key(
            "anomaly", "rewind_updates", layout,
            [](auto& c) -> auto& { return c.anomaly.rewind_updates; }, 1, many),
        integer_key(
            "anomaly", "max_rewinds", layout,
            [](auto& c) -> auto& { return c.anomaly.max_rewinds; }, 0, 100'000),
        integer_key(
            "anomaly", "repeat_every", layout,
            [](auto& c) -> auto& { return c.anomaly.repeat_every; }, 0, many),
        integer_key(
            "eval", "every_updates", layout, [](auto& c) -> auto& { return c.eval.every_updates; },
            0, many),
        integer_key(
            "eval", "tokens", layout, [](auto& c) -> auto& { return c.eval.tokens; }, 1,
            std::int64_t{1} << 50),
        integer_key(
            "metrics", "activation_norm_every", layout,
            [](auto& c) -> auto& { return c.metrics.activation_norm_every; }, 0, many),
        boolean_key(
            "metrics", "digest_every_update", layout,
            [](auto& c) -> auto& { return c.metrics.digest_every_update; }),
        {"trace", "updates", layout, set_traced_updates,
         [](const RunConfig& c) -> ConfigPayload { return c.trace.updates; }},
        integer_key(
            "run", "updates", result, [](auto& c) -> auto& { return c.run.updates; }, 1, many),
        integer_key(
            "run", "seed", result, [](auto& c) -> auto& { return c.run.seed; }, 0,
            std::numeric_limits<std::int64_t>::max()),
        {"run", "device", rounding,
         [](RunConfig& c, const ConfigValue& v) {
             c.run.device = device_names[choice_of(v, device_names, {{"gpu", say_cuda}})];
         },
         [](const RunConfig& c) -> ConfigPayload { return c.run.device; }},
        integer_key(
            "run", "threads_per_rank", layout,
            [](auto& c) -> auto& { return c.run.threads_per_rank; }, 0, 4096),
        integer_key(
            "run", "time_limit_seconds", layout,
            [](auto& c) -> auto& { return c.run.time_limit_seconds; }, 0, many),
        real_key(
            "run", "hang_seconds", layout, [](auto& c) -> auto& { return c.run.hang_seconds; },
            not_negative),
        real_key(
            "run", "start_seconds", layout, [](auto& c) -> auto& { return c.run.start_seconds; },
            not_negative),
    };
}

} // namespace

const std::vector<RunKey>& run_keys()
{
    static const std::vector<RunKey> keys = [] {
        std::vector<RunKey> all = model_keys();
        for (auto part : {training_keys(), running_keys()})
            all.insert(all.end(), part.begin(), part.end());
        return all;
    }();
    return keys;
}

std::vector<std::string> section_names()
{
    std::vector<std::string> names;
    for (const RunKey& key : run_keys())
        if (names.empty() || names.back() != key.section)
            names.emplace_back(key.section);
    return names;
}

std::vector<std::string> key_names(std::string_view section)
{
    std::vector<std::string> names;
    for (const RunKey& key : run_keys())
        if (key.section == section)
            names.emplace_back(key.name);
    return names;
}

const RunKey* find_run_key(std::string_view section, std::string_view name)
{
    for (const RunKey& key : run_keys())
        if (key.section == section && key.name == name)
            return &key;
    return nullptr;
}

std::string_view name_of(LearningRateKind kind)
{
    return learning_rate_names.at(static_cast<std::size_t>(kind));
}

std::string_view name_of(Recompute recompute)
{
    return recompute_names.at(static_cast<std::size_t>(recompute));
}

std::string_view name_of(PipelineScheduleKind kind)
{
    return pipeline_schedule_names.at(static_cast<std::size_t>(kind));
}

std::string_view name_of(AnomalyResponse response)
{
    return spike_names.at(static_cast<std::size_t>(response));
}

std::string_view name_of(ComputePrecision precision)
{
    return precision_names.at(static_cast<std::size_t>(precision));
}

} // namespace sluice
