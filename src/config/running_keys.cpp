#include "pipeline/schedule/schedule_family.hpp"
#include "src/config/run_key_tables.hpp"
#include "src/config/update_ranges.hpp"

#include <limits>

namespace sluice {

namespace {

const Names recompute_names{"none", "lean", "full"};
const Names transport_names{"auto", "mpi", "nccl", "staged"};
const Names precision_names{"fp32", "fp64", "bf16", "pure-bf16", "auto"};
const Names attention_names{"own", "cudnn"};
const Names write_failure_names{"stop", "continue"};
const Names device_names{"auto", "cpu", "cuda"};
const Names nonfinite_names{"stop", "skip", "rewind"};
const Names spike_names{"stop", "skip", "rewind", "warn"};

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

void set_traced_updates(RunConfig& config, const ConfigValue& value)
{
    // One update may be given as a number.
    const auto* number = std::get_if<std::int64_t>(&value.payload);
    config.trace.updates = number != nullptr ? std::to_string(*number) : text_of(value);
    parse_update_ranges(config.trace.updates, value.where);
}

/// Where and in which numbers the work is done, and on what.
std::vector<RunKey> placement_keys()
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
         [](RunConfig& c, const ConfigValue& v) {
             // Of one chunk it may be given as a number.
             const auto* const number = std::get_if<std::int64_t>(&v.payload);
             c.pipeline.partition = number != nullptr ? std::to_string(*number) : text_of(v);
         },
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
    };
}

/// What a run keeps, watches and reports.
std::vector<RunKey> care_keys()
{
    using enum KeyEffect;
    return {
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
    };
}

std::vector<RunKey> section_run_keys()
{
    using enum KeyEffect;
    return {
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

std::vector<RunKey> running_keys()
{
    std::vector<RunKey> keys = placement_keys();
    for (const auto& part : {care_keys(), section_run_keys()})
        keys.insert(keys.end(), part.begin(), part.end());
    return keys;
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
