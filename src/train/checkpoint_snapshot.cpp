#include "src/train/checkpoint_snapshot.hpp"

#include "core/compute_stream.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/moment_gather.hpp"

#include <array>
#include <string>

namespace sluice {

namespace {

constexpr std::array groups{"parameters", "optimizer/first_moment", "optimizer/second_moment"};

} // namespace

CheckpointSnapshot::CheckpointSnapshot(Stage& stage, const Replicas& replicas)
    : stage_(stage), replicas_(replicas)
{
    if (replicas_.index() > 0)
        return;
    for (StageChunk& chunk : stage_.chunks()) {
        std::int64_t num_elements = 0;
        for (const Parameter& parameter : chunk.model->parameters())
            num_elements += parameter.value.num_elements();
        const DType dtype = chunk.model->parameters().front().value.dtype;
        std::array<TensorView, groups.size()> memory;
        for (TensorView& each : memory) {
            memory_.emplace_back(static_cast<std::size_t>(num_elements) * size_of(dtype), Device{});
            each = memory_.back().allocate(dtype, {num_elements});
        }
        std::int64_t begin = 0;
        for (const Parameter& parameter : chunk.model->parameters()) {
            for (std::size_t group = 0; group < groups.size(); ++group)
                contents_.arrays.push_back({dataset_path(groups[group], parameter.spec.name),
                                            memory[group].slice(begin, parameter.spec.shape)});
            begin += parameter.value.num_elements();
        }
    }
}

void CheckpointSnapshot::take(const CheckpointProgress& progress, const RunConfig& config)
{
    MomentGather moments(stage_, replicas_);
    if (replicas_.index() > 0) {
        moments.give_all();
        return;
    }
    contents_.progress = progress;
    contents_.config_toml = resolved_toml(config);
    contents_.warmup.clear();
    const Stream& stream = stage_.stream();
    std::size_t array = 0, moment = 0;
    for (StageChunk& chunk : stage_.chunks()) {
        for (const Parameter& parameter : chunk.model->parameters()) {
            copy(stream, parameter.value, contents_.arrays[array++].view);
            for (int each = 0; each < 2; ++each, ++moment) {
                moments.take(moment);
                copy(stream, moments.view(moment), contents_.arrays[array++].view);
            }
        }
        contents_.warmup.push_back(warmup_state_of(chunk));
    }
    synchronize(stream);
}

} // namespace sluice
