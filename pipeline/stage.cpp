#include "pipeline/stage.hpp"

#include <algorithm>

namespace sluice {

ModelChunkOptions chunk_options(const StageOptions& options, const Schedule& program,
                                const ScheduleReport& report,
                                const std::vector<LayerRange>& partition, std::int32_t index)
{
    const auto& actions = program.actions[program.rank_of_chunk[index]];
    const bool split = std::any_of(actions.begin(), actions.end(), [&](const Action& action) {
        return action.chunk == index && action.kind == ActionKind::backward_weight;
    });
    return {.model = options.model,
            .range = partition[index],
            .micro_batch = options.micro_batch,
            .num_slots = std::max(1, report.peak_live_microbatches[index]),
            .num_gradient_slots = std::max(1, report.peak_live_gradients[index]),
            .split = split ? BackwardSplit::split : BackwardSplit::fused,
            .backend = options.backend,
            .device = Device{}};
}

Stage::Stage(const StageOptions& options, const Schedule& program, const ScheduleReport& report,
             const std::vector<LayerRange>& partition)
    : position_of_chunk_(program.num_chunks, -1)
{
    SLUICE_CHECK(static_cast<std::int32_t>(partition.size()) == program.num_chunks,
                 partition.size() << " ranges, " << program.num_chunks << " chunks");
    for (std::int32_t index = 0; index < program.num_chunks; ++index) {
        if (program.rank_of_chunk[index] != options.rank)
            continue;
        position_of_chunk_[index] = static_cast<std::int32_t>(chunks_.size());
        const LayerRange& range = partition[index];
        chunks_.push_back(
            {index,
             std::make_unique<ModelChunk>(
                 chunk_options(options, program, report, partition, index)),
             ResidualWarmup(options.warmup, options.warmup_steps, options.model.num_layers,
                            range.begin, range.num_layers())});
    }
}

bool Stage::owns(std::int32_t index) const
{
    return index >= 0 && index < static_cast<std::int32_t>(position_of_chunk_.size()) &&
           position_of_chunk_[index] >= 0;
}

StageChunk& Stage::chunk(std::int32_t index)
{
    SLUICE_CHECK(owns(index), "chunk " << index);
    return chunks_[position_of_chunk_[index]];
}

std::size_t Stage::memory_bytes() const
{
    std::size_t bytes = 0;
    for (const StageChunk& chunk : chunks_)
        bytes += chunk.model->memory().own_bytes() + chunk.model->pool().sizes().total_bytes();
    return bytes;
}

void Stage::zero_gradients()
{
    for (StageChunk& chunk : chunks_)
        chunk.model->zero_gradients();
}

void Stage::advance_gates()
{
    for (StageChunk& chunk : chunks_)
        chunk.warmup.advance();
}

} // namespace sluice
