#include "src/config/validation.hpp"

#include "core/error.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "src/config/layout.hpp"
#include "src/config/presets.hpp"
#include "src/config/run_key.hpp"
#include "src/config/update_ranges.hpp"

#include <limits>
#include <numeric>

namespace sluice {

namespace {

/// The divisor of `total` nearest to `wanted` whose quotient is a multiple of `factor`; 0 if none.
std::int64_t nearest_divisor(std::int64_t total, std::int64_t wanted, std::int64_t factor = 1)
{
    std::int64_t nearest = 0;
    for (std::int64_t d = 1; d <= total; ++d)
        if (total % d == 0 && total / d % factor == 0 &&
            (nearest == 0 || std::abs(d - wanted) < std::abs(nearest - wanted)))
            nearest = d;
    return nearest;
}

void missing(const RunFile& file, const std::string& full_name, const std::string& remedy)
{
    throw usage_error(full_name + " is missing", file.source, remedy);
}

void check_sizes(const ModelSpec& model, const RunFile& file)
{
    const std::pair<const char*, std::int64_t> sizes[] = {
        {"vocab_size", model.vocab_size},
        {"hidden_size", model.hidden_size},
        {"intermediate_size", model.intermediate_size},
        {"num_layers", model.num_layers},
        {"num_heads", model.num_heads}};
    for (const auto& [name, size] : sizes)
        if (size == 0)
            missing(file, std::string("model.") + name,
                    "give it under [model], or name a preset there: " + listed(preset_names()));
}

void check_heads(const ModelSpec& model, const RunFile& file)
{
    const std::string where = file.where({"model.num_heads", "model.hidden_size"});
    const std::string sizes = std::to_string(model.num_heads) + " heads, hidden_size " +
                              std::to_string(model.hidden_size);
    const std::int64_t nearest = nearest_divisor(model.hidden_size, model.num_heads, 2);
    const std::string remedy =
        nearest == 0
            ? "rotary positions turn pairs of channels: choose an even hidden_size, like " +
                  std::to_string(2 * model.num_heads *
                                 (model.hidden_size / (2 * model.num_heads) + 1))
            : "the nearest possible number is num_heads = " + std::to_string(nearest);
    if (model.hidden_size % model.num_heads != 0)
        throw usage_error("the heads do not divide the hidden size (" + sizes + ")", where, remedy);
    if (model.head_dim() % 2 != 0)
        throw usage_error("each head would be " + std::to_string(model.head_dim()) +
                              " wide, and rotary positions need an even number (" + sizes + ")",
                          where, remedy);
}

void check_batch(const RunConfig& config, const RunFile& file)
{
    const BatchConfig& batch = config.batch;
    if (batch.global_batch_size % batch.micro_batch_size != 0)
        throw usage_error(
            "the micro-batch of " + std::to_string(batch.micro_batch_size) +
                " sequences does not divide the global batch of " +
                std::to_string(batch.global_batch_size),
            file.where({"batch.micro_batch_size", "batch.global_batch_size"}),
            "the nearest possible number is micro_batch_size = " +
                std::to_string(nearest_divisor(batch.global_batch_size, batch.micro_batch_size)));
    if (batch.seq_len > config.model.max_seq_len)
        throw usage_error(
            "sequences of " + std::to_string(batch.seq_len) +
                " tokens are longer than model.max_seq_len = " +
                std::to_string(config.model.max_seq_len),
            file.where({"batch.seq_len", "model.max_seq_len"}),
            "the longest possible is seq_len = " + std::to_string(config.model.max_seq_len) +
                "; or raise model.max_seq_len");
    if (batch.num_microbatches() > most_microbatches)
        throw usage_error(std::to_string(batch.num_microbatches()) +
                              " micro-batches per update are too many",
                          file.where({"batch.micro_batch_size", "batch.global_batch_size"}),
                          "raise micro_batch_size; at most " + std::to_string(most_microbatches) +
                              " fit into one update");
    if (config.run.updates > std::numeric_limits<std::int64_t>::max() / batch.tokens_per_update())
        throw usage_error("the run would train on more tokens than 63 bits can count",
                          file.where({"run.updates"}),
                          "the largest possible number is run.updates = " +
                              std::to_string(std::numeric_limits<std::int64_t>::max() /
                                             batch.tokens_per_update()));
}

void check_learning_rate(const RunConfig& config, const RunFile& file)
{
    if (config.optimizer.lr == 0.0)
        missing(file, "optimizer.lr",
                config.preset.empty()
                    ? "give the peak learning rate, like lr = 1e-3 under [optimizer]"
                    : "the paper names none for " + config.preset +
                          ": give one, like lr = 3e-4 under [optimizer]");
    const LearningRateConfig& schedule = config.lr_schedule;
    const std::string where = file.where({"lr_schedule.warmup_steps", "run.updates"});
    if (schedule.warmup_steps > config.run.updates)
        throw usage_error(
            "the learning rate would warm up over " + std::to_string(schedule.warmup_steps) +
                " updates, longer than the whole run of " + std::to_string(config.run.updates),
            where,
            "the largest possible number is warmup_steps = " + std::to_string(config.run.updates));
    const std::int64_t decay = num_decay_updates(schedule, config.run.updates);
    if (schedule.kind == LearningRateKind::wsd &&
        schedule.warmup_steps + decay > config.run.updates)
        throw usage_error(
            "warm-up (" + std::to_string(schedule.warmup_steps) + " updates) and decay (" +
                std::to_string(decay) + ") are longer than the run of " +
                std::to_string(config.run.updates) + " updates together",
            where,
            "the largest possible number is warmup_steps = " +
                std::to_string(config.run.updates - decay) + "; or lower decay_fraction");
}

void check_chunks(const PipelineConfig& pipeline, const RunFile& file)
{
    using enum PipelineScheduleKind;
    const std::string where = file.where({"pipeline.chunks_per_rank", "pipeline.schedule"});
    const std::string name(name_of(pipeline.schedule));
    const std::int32_t chunks = pipeline.chunks_per_rank;
    switch (pipeline.schedule) {
    case gpipe:
    case one_f_one_b:
    case zb_h1:
        if (chunks != 1)
            throw usage_error(
                name + " gives every rank one chunk", where,
                std::string("write chunks_per_rank = 1, or schedule = \"interleaved-") +
                    (pipeline.schedule == zb_h1 ? "zb\"" : "1f1b\""));
        break;
    case interleaved_1f1b:
    case interleaved_zb:
        if (chunks < 2)
            throw usage_error(name + " with one chunk per rank is " +
                                  (pipeline.schedule == interleaved_zb ? "zb-h1" : "1f1b"),
                              where, "write chunks_per_rank = 2, or more");
        break;
    case zb_v:
    case v_half:
        if (chunks > 2)
            throw usage_error(name + " gives every rank two chunks", where,
                              "write chunks_per_rank = 2, or leave it out");
        break;
    case custom:
    case automatic: break; // the file says, or the planner chooses
    }
}

void check_replicas(const RunConfig& config, const RunFile& file)
{
    const std::int64_t num_microbatches = config.batch.num_microbatches();
    const std::int64_t replicas = config.pipeline.replicas;
    if (num_microbatches % replicas == 0)
        return;
    const std::int64_t nearest = nearest_divisor(num_microbatches, replicas);
    const std::int64_t unit = replicas * config.batch.micro_batch_size;
    const std::int64_t sequences =
        std::max<std::int64_t>(1, (config.batch.global_batch_size + unit / 2) / unit) * unit;
    throw usage_error(
        "the " + std::to_string(replicas) + " replicas cannot share " +
            std::to_string(num_microbatches) + " micro-batches evenly",
        file.where({"pipeline.replicas", "batch.micro_batch_size", "batch.global_batch_size"}),
        "the nearest possible number is replicas = " + std::to_string(nearest) +
            "; or global_batch_size = " + std::to_string(sequences));
}

void check_pipeline(const RunConfig& config, const RunFile& file)
{
    check_replicas(config, file);
    const PipelineConfig& pipeline = config.pipeline;
    const bool has_extra_warmup = pipeline.schedule < PipelineScheduleKind::custom
                                      ? takes_extra_warmup(family_of(pipeline.schedule))
                                      : pipeline.schedule == PipelineScheduleKind::automatic;
    if (pipeline.extra_warmup > 0 && !has_extra_warmup)
        throw usage_error(std::string(name_of(pipeline.schedule)) + " has no extra warm-up",
                          file.where({"pipeline.extra_warmup", "pipeline.schedule"}),
                          "write extra_warmup = 0, or schedule = \"1f1b\"");
    check_chunks(pipeline, file);
    if (pipeline.schedule == PipelineScheduleKind::custom && pipeline.schedule_file.empty())
        missing(file, "pipeline.schedule_file",
                "name the file with the schedule; `sluice plan --print-schedule` writes one to "
                "start from");
    if (pipeline.schedule != PipelineScheduleKind::custom && !pipeline.schedule_file.empty())
        throw usage_error("a schedule file is read with schedule = \"custom\" only",
                          file.where({"pipeline.schedule_file", "pipeline.schedule"}),
                          "write schedule = \"custom\", or leave schedule_file out");
    if (pipeline.partition == "auto")
        return;
    const std::string where = file.where({"pipeline.partition"});
    const auto layers = layers_per_chunk(pipeline.partition, where);
    const std::int64_t sum = std::accumulate(layers.begin(), layers.end(), std::int64_t{0});
    if (sum != config.model.num_layers)
        throw usage_error("the chunks hold " + std::to_string(sum) + " layers, the model has " +
                              std::to_string(config.model.num_layers),
                          where,
                          "make them add up to " + std::to_string(config.model.num_layers) +
                              ", or write \"auto\"");
}

void check_precision(const RunConfig& config, const RunFile& file)
{
    if (config.precision == ComputePrecision::fp64 && config.run.device == "cuda")
        throw usage_error("fp64 is computed on CPUs alone, and the run is to be on GPUs",
                          file.where({"run.device", "precision.compute"}),
                          "write device = \"cpu\", or compute = \"fp32\"");
    if (config.tf32 && config.precision != ComputePrecision::fp32 &&
        config.precision != ComputePrecision::automatic)
        throw usage_error("tf32 = true is for products of fp32, and the run is to compute in " +
                              std::string(name_of(config.precision)),
                          file.where({"precision.tf32", "precision.compute"}),
                          "write compute = \"fp32\", or leave tf32 out");
}

void check_attention(const RunConfig& config, const RunFile& file)
{
    if (config.attention == AttentionKernels::own || config.run.device == "cpu")
        return;
    const DType dtype = config.precision == ComputePrecision::automatic
                            ? DType::bf16 // as on GPUs, which alone have cuDNN
                            : element_types(config).compute;
    const std::string why =
        kernels::why_not_cudnn(dtype, {config.batch.micro_batch_size, config.batch.seq_len,
                                       config.model.num_heads, config.model.head_dim()});
    if (!why.empty())
        throw usage_error(why,
                          file.where({"precision.attention", "precision.compute", "model.num_heads",
                                      "model.hidden_size", "batch.seq_len"}),
                          "write attention = \"own\"");
}

void check_trace(const RunConfig& config, const RunFile& file)
{
    const std::string where = file.where({"trace.updates", "run.updates"});
    const auto ranges = parse_update_ranges(config.trace.updates, where);
    if (!ranges.empty() && ranges.back().last > config.run.updates)
        throw usage_error(
            "update " + std::to_string(ranges.back().last) +
                " is to be traced, and the run ends at update " +
                std::to_string(config.run.updates),
            where, "the last update that can be traced is " + std::to_string(config.run.updates));
}

void check_anomaly(const AnomalyConfig& anomaly, const RunFile& file)
{
    if (anomaly.on_spike != AnomalyResponse::warn && anomaly.loss_spike_sigma == 0.0)
        throw usage_error("no spike is looked for with loss_spike_sigma = 0",
                          file.where({"anomaly.on_spike", "anomaly.loss_spike_sigma"}),
                          "write loss_spike_sigma = 7, or leave on_spike out");
}

} // namespace

void refuse_wide_heads(const RunConfig& config, const std::string& where)
{
    const bool on_gpus = config.run.device == "cuda";
    const std::int64_t widest =
        on_gpus ? kernels::max_head_dim_on_gpus : kernels::max_head_dim_on_cpus;
    const std::int64_t width = config.model.head_dim();
    if (width <= widest || (!on_gpus && config.precision == ComputePrecision::fp64))
        return;
    std::int64_t num_heads = (config.model.hidden_size + widest - 1) / widest;
    while (config.model.hidden_size % num_heads != 0 ||
           config.model.hidden_size / num_heads % 2 != 0)
        ++num_heads;
    throw usage_error("each head would be " + std::to_string(width) + " wide, and attention on " +
                          (on_gpus ? "GPUs" : "CPUs") + " takes up to " + std::to_string(widest) +
                          " (" + std::to_string(config.model.num_heads) + " heads, hidden_size " +
                          std::to_string(config.model.hidden_size) + ")",
                      where, "write num_heads = " + std::to_string(num_heads));
}

void settle_warmup_steps(RunConfig& config, const RunFile& file)
{
    if (!file.has("prores.total_warmup_steps"))
        return;
    const std::int64_t total = config.prores.warmup_steps;
    const std::int64_t num_layers = config.model.num_layers;
    if (config.prores.schedule == WarmupSchedule::equal || num_layers == 0)
        return;
    if (total % num_layers != 0) {
        const std::int64_t below = total / num_layers * num_layers;
        const std::string nearest =
            below == 0 ? std::to_string(num_layers)
                       : std::to_string(below) + " or " + std::to_string(below + num_layers);
        throw usage_error(
            "the total warm-up of " + std::to_string(total) + " updates is no multiple of the " +
                std::to_string(num_layers) + " layers, each of which adds T whole updates",
            file.where({"prores.total_warmup_steps"}), "the nearest possible: " + nearest);
    }
    config.prores.warmup_steps = total / num_layers;
}

void validate(const RunConfig& config, const RunFile& file)
{
    check_sizes(config.model, file);
    check_heads(config.model, file);
    refuse_wide_heads(config, file.where({"model.num_heads", "model.hidden_size"}));
    if (config.run.updates == 0)
        missing(file, "run.updates", "give the length of the run, like updates = 1000 under [run]");
    if (config.data.train.empty())
        missing(file, "data.train",
                "name a token file under [data]; `sluice data prepare` makes one from text");
    check_batch(config, file);
    check_learning_rate(config, file);
    check_pipeline(config, file);
    check_precision(config, file);
    check_attention(config, file);
    check_trace(config, file);
    check_anomaly(config.anomaly, file);
    if (config.eval.every_updates > 0 && config.eval.tokens < config.batch.seq_len)
        throw usage_error(
            "an evaluation on " + std::to_string(config.eval.tokens) +
                " tokens is shorter than one sequence of " + std::to_string(config.batch.seq_len),
            file.where({"eval.tokens", "batch.seq_len"}),
            "the smallest possible number is tokens = " + std::to_string(config.batch.seq_len) +
                "; to switch evaluation off write every_updates = 0");
}

} // namespace sluice
