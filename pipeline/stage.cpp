#include "pipeline/stage.hpp"

#include "layers/chunk_layout.hpp"
#include "pipeline/gradient_exchange.hpp"

#include <algorithm>

namespace sluice {

namespace {

std::vector<std::int32_t> chunks_on(std::int32_t rank, const Schedule& program)
{
    std::vector<std::int32_t> chunks;
    for (std::int32_t index = 0; index < program.num_chunks; ++index)
        if (program.rank_of_chunk[index] == rank)
            chunks.push_back(index);
    return chunks;
}

PoolSizes pool_sizes(const StageOptions& options, const Schedule& program, const SlotTable& slots,
                     const std::vector<LayerRange>& partition)
{
    const auto rank = static_cast<std::size_t>(options.rank);
    PoolSizes sizes{.num_slots = slots.num_activation_slots[rank],
                    .num_gradient_slots = slots.num_gradient_slots[rank],
                    .slot_bytes = 0,
                    .gradient_slot_bytes = 0,
                    .scratch_bytes = 0};
    for (const std::int32_t index : chunks_on(options.rank, program))
        sizes.fit(plan_memory(chunk_options(options, program, partition, index)));
    return sizes;
}

/// Takes the inbox from `arena`, which may only count.
std::vector<TensorView> allocate_inbox(const StageOptions& options, const SlotTable& slots,
                                       Arena& arena)
{
    std::vector<TensorView> inbox;
    for (std::int32_t i = 0; i < slots.num_inbox_slots[static_cast<std::size_t>(options.rank)]; ++i)
        inbox.push_back(arena.allocate(options.precision.compute, {options.micro_batch.num_tokens(),
                                                                   options.model.hidden_size}));
    return inbox;
}

std::size_t inbox_bytes(const StageOptions& options, const SlotTable& slots)
{
    Arena counting;
    allocate_inbox(options, slots, counting);
    return counting.used_bytes();
}

} // namespace

ModelChunkOptions chunk_options(const StageOptions& options, const Schedule& program,
                                const std::vector<LayerRange>& partition, std::int32_t index)
{
    const auto& actions = program.actions[program.rank_of_chunk[index]];
    const bool split = std::any_of(actions.begin(), actions.end(), [&](const Action& action) {
        return action.chunk == index && action.kind == ActionKind::backward_weight;
    });
    return {.model = options.model,
            .range = partition[index],
            .micro_batch = options.micro_batch,
            .num_slots = 1, // the stage's pool says how many
            .num_gradient_slots = 1,
            .split = split ? BackwardSplit::split : BackwardSplit::fused,
            .recompute = options.recompute,
            .passes = options.passes,
            .moments = options.moments,
            .precision = options.precision,
            .graph_launches =
                options.graph_launches /
                static_cast<std::int64_t>(chunks_on(program.rank_of_chunk[index], program).size()),
            .stream = options.stream};
}

StageMemory plan_memory(const StageOptions& options, const Schedule& program,
                        const SlotTable& slots, const std::vector<LayerRange>& partition)
{
    StageMemory memory;
    for (const std::int32_t index : chunks_on(options.rank, program)) {
        const ChunkMemory chunk = plan_memory(chunk_options(options, program, partition, index));
        memory.parameter_bytes += chunk.parameter_bytes;
        memory.gradient_bytes += chunk.gradient_bytes;
        memory.optimizer_bytes += chunk.optimizer_bytes;
        memory.scratch_bytes += chunk.table_bytes;
    }
    const PoolSizes pool = pool_sizes(options, program, slots, partition);
    memory.activation_bytes = static_cast<std::size_t>(pool.num_slots) * pool.slot_bytes;
    memory.transfer_bytes =
        static_cast<std::size_t>(pool.num_gradient_slots) * pool.gradient_slot_bytes +
        inbox_bytes(options, slots);
    memory.scratch_bytes += pool.scratch_bytes;
    memory.exchange_bytes = exchange_bytes(options.model, options.precision, options.moments.count,
                                           options.stream.device);
    if (options.snapshot && options.moments.index == 0 &&
        options.stream.device.kind == DeviceKind::cpu)
        memory.snapshot_bytes = snapshot_bytes(memory.parameter_bytes, options.precision);
    return memory;
}

std::size_t snapshot_bytes(std::size_t parameter_bytes, const Precision& precision)
{
    return 3 * parameter_bytes / size_of(precision.compute) * size_of(precision.stored());
}

Stage::Stage(const StageOptions& options, const Schedule& program, const SlotTable& slots,
             const std::vector<LayerRange>& partition)
    : stream_(options.stream), num_tokens_(options.micro_batch.num_tokens()),
      memory_(plan_memory(options, program, slots, partition)),
      pool_(pool_sizes(options, program, slots, partition), options.stream.device),
      inbox_memory_(inbox_bytes(options, slots), options.stream.device),
      inbox_(allocate_inbox(options, slots, inbox_memory_)),
      position_of_chunk_(program.num_chunks, -1)
{
    SLUICE_CHECK(static_cast<std::int32_t>(partition.size()) == program.num_chunks,
                 partition.size() << " ranges, " << program.num_chunks << " chunks");
    for (const std::int32_t index : chunks_on(options.rank, program)) {
        position_of_chunk_[index] = static_cast<std::int32_t>(chunks_.size());
        const LayerRange& range = partition[index];
        chunks_.push_back(
            {index,
             std::make_unique<ModelChunk>(chunk_options(options, program, partition, index), pool_),
             ResidualWarmup(options.warmup, options.warmup_steps, options.model.num_layers,
                            range.begin, range.num_layers())});
    }
}

TensorView Stage::inbox(std::int32_t slot) const
{
    SLUICE_CHECK(slot >= 0 && slot < static_cast<std::int32_t>(inbox_.size()),
                 "inbox slot " << slot << " of " << inbox_.size());
    return inbox_[slot];
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

std::size_t Stage::num_parameters() const
{
    std::size_t count = 0;
    for (const StageChunk& chunk : chunks_)
        count += chunk.model->parameters().size();
    return count;
}

void Stage::zero_gradients()
{
    for (StageChunk& chunk : chunks_)
        chunk.model->zero_gradients();
}

void Stage::make_graphs_ready()
{
    for (StageChunk& chunk : chunks_)
        chunk.model->make_graphs_ready();
}

void Stage::advance_gates()
{
    for (StageChunk& chunk : chunks_)
        chunk.warmup.advance();
}

} // namespace sluice
