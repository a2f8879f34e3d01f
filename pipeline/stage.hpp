// What one rank owns of the model: its chunks, and the gates of their layers.
#pragma once

#include "core/arena.hpp"
#include "layers/activation_pool.hpp"
#include "layers/model_chunk.hpp"
#include "pipeline/residual_warmup.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/schedule/slot_table.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

struct StageOptions {
    ModelSpec model;
    MicroBatchShape micro_batch;
    Stream stream{}; ///< as in ModelChunkOptions
    WarmupSchedule warmup = WarmupSchedule::linear;
    std::int64_t warmup_steps = 1000; ///< T
    int rank = 0;
    Recompute recompute = Recompute::none;
    Passes passes = Passes::forward_and_backward; ///< as in ModelChunkOptions
    MomentShard moments{};                        ///< this replica's share of the optimizer's state
    Precision precision{};                        ///< as in ModelChunkOptions
    std::int64_t graph_launches = 0; ///< as in ModelChunkOptions, for all chunks of a rank
    /// Replica 0 keeps a copy of its parameters and of all their moments while it is saved, in host
    /// memory. Planned here; who saves takes it.
    bool snapshot = false;
};

/// One chunk with its place in the pipeline.
struct StageChunk {
    std::int32_t index = 0; ///< 0..num_chunks-1 over the whole pipeline
    std::unique_ptr<ModelChunk> model;
    ResidualWarmup warmup;
};

/// Bytes one rank takes for its chunks, by purpose.
struct StageMemory {
    std::size_t parameter_bytes = 0; ///< values
    std::size_t gradient_bytes = 0;
    std::size_t optimizer_bytes = 0;  ///< moments and master weights, this replica's share
    std::size_t activation_bytes = 0; ///< as many slots as are alive at once, for all chunks
    std::size_t transfer_bytes = 0;   ///< activations and gradients that come or go
    std::size_t scratch_bytes = 0;    ///< shared by all layers, logits and rotary tables included
    std::size_t exchange_bytes = 0;   ///< gradients that come from other replicas
    std::size_t snapshot_bytes = 0;   ///< see StageOptions::snapshot; 0 on GPUs
    std::size_t total_bytes() const
    {
        return parameter_bytes + gradient_bytes + optimizer_bytes + activation_bytes +
               transfer_bytes + scratch_bytes + exchange_bytes + snapshot_bytes;
    }
};

class Stage {
public:
    /// `partition`: one range per chunk of the whole pipeline. `slots`: the checker's.
    Stage(const StageOptions& options, const Schedule& program, const SlotTable& slots,
          const std::vector<LayerRange>& partition);

    std::vector<StageChunk>& chunks() { return chunks_; }
    const std::vector<StageChunk>& chunks() const { return chunks_; }
    /// The chunk of that index, which this rank must own.
    StageChunk& chunk(std::int32_t index);
    bool owns(std::int32_t index) const;

    /// That its chunks compute on.
    const Stream& stream() const { return stream_; }
    std::size_t num_parameters() const; ///< tensors, of all its chunks
    /// N, of a micro-batch.
    std::int64_t num_tokens() const { return num_tokens_; }
    /// Where an activation from another rank arrives, [N,C].
    TensorView inbox(std::int32_t slot) const;

    const StageMemory& memory() const { return memory_; }

    void zero_gradients();
    /// As in ModelChunk.
    void make_graphs_ready();
    /// One completed update: every owned layer's counter advances.
    void advance_gates();

private:
    Stream stream_;
    std::int64_t num_tokens_;
    StageMemory memory_;
    ActivationPool pool_;
    Arena inbox_memory_;
    std::vector<TensorView> inbox_; ///< [slot]
    std::vector<StageChunk> chunks_;
    std::vector<std::int32_t> position_of_chunk_; ///< -1: another rank's
};

/// The options of chunk `index` of a pipeline: what Stage builds and the planner counts.
ModelChunkOptions chunk_options(const StageOptions& options, const Schedule& program,
                                const std::vector<LayerRange>& partition, std::int32_t index);

/// Bytes of a copy of a rank's parameters and of all their moments as checkpoints hold them.
std::size_t snapshot_bytes(std::size_t parameter_bytes, const Precision& precision);

/// What a Stage on options.rank will take, without taking it.
StageMemory plan_memory(const StageOptions& options, const Schedule& program,
                        const SlotTable& slots, const std::vector<LayerRange>& partition);

} // namespace sluice
