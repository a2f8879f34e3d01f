#include "src/train/run_plan.hpp"

#include "core/error.hpp"

namespace sluice {

namespace {

Schedule make_schedule(const PipelineConfig& config, std::int32_t num_ranks,
                       std::int32_t num_microbatches)
{
    switch (config.schedule) {
    case PipelineScheduleKind::gpipe: return make_gpipe(num_ranks, num_microbatches);
    case PipelineScheduleKind::one_f_one_b:
        return make_1f1b(num_ranks, num_microbatches, config.extra_warmup);
    }
    SLUICE_CHECK(false, "schedule " << static_cast<int>(config.schedule));
    return {};
}

} // namespace

ChunkMemory RunPlan::chunk_memory(std::int32_t index) const
{
    return plan_memory(chunk_options(stage, program, report, partition, index));
}

PoolSizes RunPlan::chunk_pool(std::int32_t index) const
{
    return own_pool_sizes(chunk_options(stage, program, report, partition, index));
}

std::size_t RunPlan::rank_bytes(int rank) const
{
    std::size_t bytes = 0;
    for (std::int32_t chunk = 0; chunk < program.num_chunks; ++chunk)
        if (program.rank_of_chunk[chunk] == rank)
            bytes += chunk_memory(chunk).own_bytes() + chunk_pool(chunk).total_bytes();
    return bytes;
}

RunPlan plan_run(const RunConfig& config, int num_ranks)
{
    check_layout(config, num_ranks);
    RunPlan plan;
    plan.costs = layer_costs(config.model, config.batch.seq_len);
    const Schedule schedule = make_schedule(
        config.pipeline, num_ranks, static_cast<std::int32_t>(config.batch.num_microbatches()));
    plan.program = with_communication(schedule);
    plan.report = check_schedule(plan.program);
    SLUICE_CHECK(plan.report.good(), plan.report.problems.front());
    plan.partition =
        config.pipeline.partition == "auto"
            ? partition_by_cost(config.model.num_layers, schedule.num_chunks, plan.costs)
            : partition_by_hand(config.model.num_layers, schedule.num_chunks,
                                config.pipeline.partition);
    plan.stage = {.model = config.model,
                  .micro_batch = {config.batch.micro_batch_size, config.batch.seq_len},
                  .backend = config.precision == ComputePrecision::fp64 ? Backend::reference
                                                                        : Backend::cpu,
                  .warmup = config.prores.schedule,
                  .warmup_steps = config.prores.warmup_steps,
                  .rank = 0};
    return plan;
}

Schedule make_forward_only(const std::vector<std::int32_t>& rank_of_chunk, int num_ranks,
                           std::int32_t num_microbatches)
{
    Schedule schedule;
    schedule.num_chunks = static_cast<std::int32_t>(rank_of_chunk.size());
    schedule.num_microbatches = num_microbatches;
    schedule.rank_of_chunk = rank_of_chunk;
    schedule.actions.resize(static_cast<std::size_t>(num_ranks));
    for (std::int32_t m = 0; m < num_microbatches; ++m)
        for (std::int32_t c = 0; c < schedule.num_chunks; ++c) {
            auto& actions = schedule.actions[static_cast<std::size_t>(rank_of_chunk[c])];
            const bool from_elsewhere = c > 0 && rank_of_chunk[c - 1] != rank_of_chunk[c];
            const bool to_elsewhere =
                c + 1 < schedule.num_chunks && rank_of_chunk[c + 1] != rank_of_chunk[c];
            if (from_elsewhere)
                actions.push_back({ActionKind::receive_activation, c, m});
            actions.push_back({ActionKind::forward, c, m});
            if (to_elsewhere)
                actions.push_back({ActionKind::send_activation, c, m});
        }
    return schedule;
}

} // namespace sluice
