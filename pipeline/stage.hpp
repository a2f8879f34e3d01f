// What one rank owns of the model: its chunks, and the gates of their layers.
#pragma once

#include "layers/model_chunk.hpp"
#include "pipeline/residual_warmup.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/schedule/schedule_checker.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

struct StageOptions {
    ModelSpec model;
    MicroBatchShape micro_batch;
    Backend backend = Backend::cpu;
    WarmupSchedule warmup = WarmupSchedule::linear;
    std::int64_t warmup_steps = 1000; ///< T
    int rank = 0;
};

/// One chunk with its place in the pipeline.
struct StageChunk {
    std::int32_t index = 0; ///< 0..num_chunks-1 over the whole pipeline
    std::unique_ptr<ModelChunk> model;
    ResidualWarmup warmup;
};

class Stage {
public:
    /// `partition`: one range per chunk of the whole pipeline. `report`: the checker's, for slots.
    Stage(const StageOptions& options, const Schedule& program, const ScheduleReport& report,
          const std::vector<LayerRange>& partition);

    std::vector<StageChunk>& chunks() { return chunks_; }
    const std::vector<StageChunk>& chunks() const { return chunks_; }
    /// The chunk of that index, which this rank must own.
    StageChunk& chunk(std::int32_t index);
    bool owns(std::int32_t index) const;

    /// Bytes of all chunks together.
    std::size_t memory_bytes() const;

    void zero_gradients();
    /// One completed update: every owned layer's counter advances.
    void advance_gates();

private:
    std::vector<StageChunk> chunks_;
    std::vector<std::int32_t> position_of_chunk_; ///< -1: another rank's
};

/// The options of chunk `index` of a pipeline: what Stage builds and the planner counts.
ModelChunkOptions chunk_options(const StageOptions& options, const Schedule& program,
                                const ScheduleReport& report,
                                const std::vector<LayerRange>& partition, std::int32_t index);

} // namespace sluice
