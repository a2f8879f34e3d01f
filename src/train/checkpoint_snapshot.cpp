#include "src/train/checkpoint_snapshot.hpp"

#include "core/compute_stream.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/state_gather.hpp"

#include <array>
#include <string>

namespace sluice {

CheckpointSnapshot::CheckpointSnapshot(Stage& stage, const Replicas& replicas)
    : stage_(stage), replicas_(replicas)
{
    if (replicas_.index() > 0)
        return;
    for (StageChunk& chunk : stage_.chunks()) {
        std::int64_t num_elements = 0;
        for (const Parameter& parameter : chunk.model->parameters())
            num_elements += parameter.value.num_elements();
        const DType dtype = chunk.model->options().precision.stored();
        std::array<TensorView, state_groups.size()> memory;
        for (TensorView& each : memory) {
            memory_.emplace_back(static_cast<std::size_t>(num_elements) * size_of(dtype), Device{});
            each = memory_.back().allocate(dtype, {num_elements});
        }
        std::int64_t begin = 0;
        for (const Parameter& parameter : chunk.model->parameters()) {
            for (std::size_t group = 0; group < state_groups.size(); ++group)
                contents_.arrays.push_back({dataset_path(state_groups[group], parameter.spec.name),
                                            memory[group].slice(begin, parameter.spec.shape)});
            begin += parameter.value.num_elements();
        }
    }
}

void CheckpointSnapshot::take(const CheckpointProgress& progress, const RunConfig& config)
{
    StateGather states(stage_, replicas_);
    if (replicas_.index() > 0) {
        states.give_all();
        return;
    }
    contents_.progress = progress;
    contents_.config_toml = resolved_toml(config);
    contents_.warmup.clear();
    const Stream& stream = stage_.stream();
    for (std::size_t array = 0; array < states.num_arrays(); ++array) {
        states.take(array);
        copy_as_stored(stream, states.view(array), contents_.arrays[array].view);
    }
    for (const StageChunk& chunk : stage_.chunks())
        contents_.warmup.push_back(warmup_state_of(chunk));
    synchronize(stream);
}

} // namespace sluice
