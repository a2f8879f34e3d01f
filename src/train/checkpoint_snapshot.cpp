#include "src/train/checkpoint_snapshot.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/wait_attendant.hpp"
#include "layers/kernels/elementwise.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/state_gather.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace sluice {

namespace {

/// One for each array of a StateGather, in its order.
std::vector<std::string> paths_of(Stage& stage)
{
    std::vector<std::string> paths;
    for (StageChunk& chunk : stage.chunks())
        for (const Parameter& parameter : chunk.model->parameters())
            for (const char* group : state_groups)
                paths.push_back(dataset_path(group, parameter.spec.name));
    return paths;
}

} // namespace

/// Arrays that lie whole on this rank's GPU, in locked memory as they are there.
class CheckpointSnapshot::CopiesFromGpu {
public:
    CopiesFromGpu(Stage& stage, const StateGather& states, StageContents& contents)
        : compute_(stage.stream()), stream_(compute_.device, StreamPriority::usual, 0)
    {
        std::size_t num_bytes = 0;
        std::int64_t longest_narrow = 0;
        for (std::size_t array = 0; array < states.num_arrays(); ++array) {
            const TensorView from = states.view(array);
            num_bytes += aligned_bytes(from.num_bytes());
            if (stored_dtype(from.dtype) != from.dtype)
                longest_narrow = std::max(longest_narrow, from.num_elements());
        }
        memory_ = PinnedMemory(num_bytes);
        wide_.resize(static_cast<std::size_t>(longest_narrow));
        const std::vector<std::string> paths = paths_of(stage);
        auto* place = static_cast<std::byte*>(memory_.data());
        for (std::size_t array = 0; array < states.num_arrays(); ++array) {
            TensorView copied = states.view(array);
            copied.data = place;
            copied.device = {};
            place += aligned_bytes(copied.num_bytes());
            copied_.push_back(copied);
            contents.arrays.push_back(as_stored(paths[array], copied));
        }
    }

    ~CopiesFromGpu()
    {
        if (!may_free_behind(done_, stream_.stream()))
            memory_.leave();
    }
    CopiesFromGpu(const CopiesFromGpu&) = delete;
    CopiesFromGpu& operator=(const CopiesFromGpu&) = delete;

    void queue(const StateGather& states)
    {
        computed_.record(compute_);
        computed_.hold_back(stream_.stream());
        for (std::size_t array = 0; array < copied_.size(); ++array)
            copy(stream_.stream(), states.view(array), copied_[array]);
        done_.record(stream_.stream());
    }
    void hold_back_changes() const { done_.hold_back(compute_); }
    void wait() const
    {
        use_gpu(compute_.device.index); // this thread may be a new one
        done_.wait();
    }

private:
    /// bf16 is widened when it is written, one array after another in the same memory.
    NamedArray as_stored(const std::string& path, const TensorView& copied)
    {
        if (stored_dtype(copied.dtype) == copied.dtype)
            return {path, copied};
        const TensorView wide{wide_.data(), DType::f32, copied.shape, Device{}};
        return {path, wide, [copied, wide] {
                    kernels::launch(Stream{}, kernels::Copy{.from = copied, .to = wide});
                }};
    }

    Stream compute_;
    GpuStream stream_;
    GpuEvent computed_, done_;
    PinnedMemory memory_;
    std::vector<float> wide_;
    std::vector<TensorView> copied_;
};

CheckpointSnapshot::CheckpointSnapshot(Stage& stage, const Replicas& replicas)
    : stage_(stage), replicas_(replicas)
{
    if (replicas_.index() > 0)
        return;
    contents_.on_array = moved_on(replicas_.world());
    if (stage_.stream().device.kind == DeviceKind::cuda && replicas_.count() == 1)
        from_gpu_ =
            std::make_unique<CopiesFromGpu>(stage_, StateGather(stage_, replicas_), contents_);
    else
        reserve_in_host_memory();
}

CheckpointSnapshot::~CheckpointSnapshot() = default;

void CheckpointSnapshot::reserve_in_host_memory()
{
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
    for (const StageChunk& chunk : stage_.chunks())
        contents_.warmup.push_back(warmup_state_of(chunk));
    if (from_gpu_) {
        from_gpu_->queue(states);
        return;
    }
    const Stream& stream = stage_.stream();
    for (std::size_t array = 0; array < states.num_arrays(); ++array) {
        states.take(array);
        copy_as_stored(stream, states.view(array), contents_.arrays[array].view);
    }
    synchronize(stream);
}

void CheckpointSnapshot::hold_back_changes() const
{
    if (from_gpu_)
        from_gpu_->hold_back_changes();
}

void CheckpointSnapshot::wait() const
{
    if (from_gpu_)
        from_gpu_->wait();
}

} // namespace sluice
