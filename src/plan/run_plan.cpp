#include "src/plan/run_plan.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "layers/chunk_layout.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"
#include "src/config/layout.hpp"
#include "src/config/run_key.hpp"
#include "src/text/first_lines.hpp"

#include <algorithm>

namespace sluice {

namespace {

void check_sizes(const Schedule& schedule, int num_ranks, std::int32_t num_microbatches,
                 const std::string& file)
{
    const auto refuse = [&](std::int32_t found, const char* what, std::int32_t wanted,
                            const char* key) {
        if (found != wanted)
            throw usage_error("the schedule is for " + std::to_string(found) + " " + what +
                                  ", the run has " + std::to_string(wanted),
                              file, std::string("change ") + key + ", or the schedule");
    };
    refuse(schedule.num_ranks(), "ranks", num_ranks, "the number of ranks");
    refuse(schedule.num_microbatches, "micro-batches", num_microbatches,
           "batch.global_batch_size or batch.micro_batch_size");
}

// All graphs of a rank together. What the driver keeps per launch is not documented; at 16 KiB each
// it would be 1 GiB.
constexpr std::int64_t most_graph_launches = 65'536;
constexpr std::uint64_t most_schedule_bytes = std::uint64_t{1} << 30;

/// A schedule somebody wrote: whatever is wrong with it is said with its place.
Schedule read_schedule(const PipelineConfig& config, int num_ranks, std::int32_t num_microbatches)
{
    const std::string file = config.schedule_file.string();
    const Schedule schedule =
        parse_schedule(read_file(config.schedule_file, most_schedule_bytes), file);
    check_sizes(schedule, num_ranks, num_microbatches, file);
    const ScheduleReport report = check_schedule(schedule);
    if (report.good())
        return schedule;
    throw usage_error("this schedule cannot run:" + first_lines(report.problems, 5), file,
                      "`sluice plan --print-schedule` shows one that can");
}

std::vector<LayerRange> make_partition(const RunConfig& config,
                                       const std::vector<std::int32_t>& rank_of_chunk,
                                       const LayerCosts& costs)
{
    const auto num_chunks = static_cast<std::int32_t>(rank_of_chunk.size());
    const std::int64_t num_layers = config.model.num_layers;
    if (config.pipeline.partition != "auto") {
        const std::string where = "pipeline.schedule";
        check_partition(config, num_chunks, where);
        auto by_hand = layer_ranges(layers_per_chunk(config.pipeline.partition, where));
        SLUICE_CHECK(by_hand.back().end == num_layers,
                     by_hand.back().end << " layers of " << num_layers);
        return by_hand;
    }
    auto alone = partition_by_cost(num_layers, rank_of_chunk, costs, HeadChunk::may_stand_alone);
    if (num_layers < num_chunks)
        return alone;
    auto together = partition_by_cost(num_layers, rank_of_chunk, costs, HeadChunk::with_layers);
    return partition_efficiency(alone, rank_of_chunk, costs) >
                   partition_efficiency(together, rank_of_chunk, costs) + 1e-9
               ? alone
               : together;
}

/// A family promises how many activations are alive at once; the program must keep it.
void check_memory_claim(const PipelineConfig& pipeline, const RunPlan& plan)
{
    if (pipeline.schedule == PipelineScheduleKind::custom)
        return; // promises nothing
    const std::int32_t claimed =
        claimed_live_activations({.family = family_of(pipeline.schedule),
                                  .num_ranks = plan.program.num_ranks(),
                                  .num_microbatches = plan.program.num_microbatches,
                                  .chunks_per_rank = pipeline.chunks_per_rank,
                                  .extra_warmup = pipeline.extra_warmup,
                                  .costs = {}});
    for (const std::int32_t slots : plan.slots.num_activation_slots)
        SLUICE_CHECK(slots <= claimed, plan.schedule_name << " keeps " << slots
                                                          << " activations alive, not " << claimed);
}

} // namespace

std::size_t RunPlan::message_bytes() const
{
    return static_cast<std::size_t>(stage.micro_batch.num_tokens() * stage.model.hidden_size) *
           size_of(stage.precision.compute);
}

StageMemory RunPlan::rank_memory(int rank) const
{
    StageOptions options = stage;
    options.rank = rank;
    return plan_memory(options, program, slots, partition);
}

std::size_t RunPlan::largest_snapshot_bytes() const
{
    std::size_t most = 0;
    for (int rank = 0; rank < program.num_ranks(); ++rank)
        most = std::max(most, snapshot_bytes(rank_memory(rank).parameter_bytes, stage.precision));
    return most;
}

std::vector<ChunkCosts> unit_costs(const std::vector<LayerRange>& partition,
                                   const LayerCosts& costs)
{
    std::vector<ChunkCosts> units;
    for (const LayerRange& range : partition) {
        // Of a matrix product's three equal parts one runs forward. The head runs in the backward
        // pass, its weight gradients directly behind its input gradient.
        const double layers = static_cast<double>(range.num_layers()) +
                              (range.embedding ? costs.embedding / costs.decoder_layer : 0.0);
        const double head = range.head ? costs.head / costs.decoder_layer : 0.0;
        units.push_back({.forward = layers / 3.0,
                         .backward_input = layers / 3.0 + head,
                         .backward_weight = layers / 3.0,
                         .transfer = 0.0});
    }
    return units;
}

Stream planned_stream(const RunConfig& config)
{
    if (config.precision == ComputePrecision::fp64)
        return {.backend = Backend::reference};
    if (config.run.device == "cuda")
        return {.backend = Backend::cuda,
                .device = {DeviceKind::cuda, 0},
                .tf32 = config.tf32,
                .cudnn_attention = config.attention == AttentionKernels::cudnn};
    return {.backend = Backend::cpu};
}

RunPlan plan_run(const RunConfig& config, int num_ranks)
{
    const PipelineConfig& pipeline = config.pipeline;
    check_layout(config, std::int64_t{num_ranks} * pipeline.replicas);
    SLUICE_CHECK(config.batch.num_microbatches() % pipeline.replicas == 0,
                 config.batch.num_microbatches()
                     << " micro-batches for " << pipeline.replicas << " replicas");
    const auto num_microbatches =
        static_cast<std::int32_t>(config.batch.num_microbatches() / pipeline.replicas);
    RunPlan plan;
    plan.schedule_name = name_of(pipeline.schedule);
    plan.costs = layer_costs(config.model, config.batch.seq_len);
    Schedule schedule;
    if (pipeline.schedule == PipelineScheduleKind::custom) {
        schedule = read_schedule(pipeline, num_ranks, num_microbatches);
        plan.partition = make_partition(config, schedule.rank_of_chunk, plan.costs);
    } else {
        const ScheduleFamily family = family_of(pipeline.schedule);
        plan.partition =
            make_partition(config,
                           rank_of_chunks(placement_of(family), num_ranks,
                                          chunks_per_rank_of(family, pipeline.chunks_per_rank)),
                           plan.costs);
        schedule = make_schedule({.family = family,
                                  .num_ranks = num_ranks,
                                  .num_microbatches = num_microbatches,
                                  .chunks_per_rank = pipeline.chunks_per_rank,
                                  .extra_warmup = pipeline.extra_warmup,
                                  .costs = unit_costs(plan.partition, plan.costs)});
    }
    plan.program = has_communication(schedule) ? schedule : with_communication(schedule);
    ScheduleReport report = check_schedule(plan.program);
    SLUICE_CHECK(report.good(), report.problems.front());
    plan.slots = std::move(report.slots);
    check_memory_claim(config.pipeline, plan);
    plan.stage = {.model = config.model,
                  .micro_batch = {config.batch.micro_batch_size, config.batch.seq_len},
                  .stream = planned_stream(config),
                  .warmup = config.prores.schedule,
                  .warmup_steps = config.prores.warmup_steps,
                  .rank = 0,
                  .recompute = config.pipeline.recompute,
                  .moments = {0, config.pipeline.replicas},
                  .precision = element_types(config),
                  .graph_launches = captures_graphs(config) ? most_graph_launches : 0,
                  .snapshot = config.checkpoint.asynchronous == Switch::on};
    return plan;
}

} // namespace sluice
