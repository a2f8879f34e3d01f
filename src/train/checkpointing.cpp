#include "src/train/checkpointing.hpp"

#include "core/checksum.hpp"
#include "core/compute_stream.hpp"
#include "core/error.hpp"
#include "layers/kernels/elementwise.hpp"
#include "pipeline/agreement.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/state_gather.hpp"

#include <algorithm>
#include <sstream>

namespace sluice {

namespace {

namespace fs = std::filesystem;

/// A stage's arrays for the writer of its file: where they lie, or one after another through one
/// buffer, from a GPU or widened.
class ArraysForWriting {
public:
    explicit ArraysForWriting(Stage& stage) : stream_(stage.stream())
    {
        std::size_t largest = 0;
        for (StageChunk& chunk : stage.chunks())
            for (const Parameter& parameter : chunk.model->parameters())
                if (is_buffered(parameter.first_moment))
                    largest =
                        std::max(largest, static_cast<std::size_t>(parameter.value.num_elements()) *
                                              size_of(stored_dtype(parameter.first_moment.dtype)));
        buffer_.resize(largest);
    }
    /// `prepare` runs before the array is read.
    NamedArray named(std::string path, const TensorView& array, std::function<void()> prepare)
    {
        if (!is_buffered(array))
            return {std::move(path), array, std::move(prepare)};
        const TensorView view{buffer_.data(), stored_dtype(array.dtype), array.shape, {}};
        return {std::move(path), view,
                [stream = stream_, array, view, prepare = std::move(prepare)] {
                    prepare();
                    copy_as_stored(stream, array, view);
                    synchronize(stream);
                }};
    }

private:
    static bool is_buffered(const TensorView& array)
    {
        return array.device.kind != DeviceKind::cpu || array.dtype != stored_dtype(array.dtype);
    }

    Stream stream_;
    std::vector<std::byte> buffer_;
};

StageContents contents_of(Stage& stage, ArraysForWriting& arrays, StateGather& states,
                          const CheckpointProgress& progress, const RunConfig& config)
{
    StageContents contents{
        .arrays = {}, .warmup = {}, .progress = progress, .config_toml = resolved_toml(config)};
    std::size_t array = 0;
    for (StageChunk& chunk : stage.chunks()) {
        for (const Parameter& parameter : chunk.model->parameters())
            for (const char* group : state_groups) {
                contents.arrays.push_back(arrays.named(dataset_path(group, parameter.spec.name),
                                                       states.view(array),
                                                       [&states, array] { states.take(array); }));
                ++array;
            }
        contents.warmup.push_back(warmup_state_of(chunk));
    }
    return contents;
}

/// This rank's file, or, on replicas that write none, what the writers need from here.
ManifestEntry write_share(const fs::path& partial, Stage& stage, const Replicas& replicas,
                          const CheckpointProgress& progress, const RunConfig& config)
{
    StateGather states(stage, replicas);
    if (replicas.index() > 0) {
        states.give_all();
        return {};
    }
    ArraysForWriting arrays(stage);
    StageContents contents = contents_of(stage, arrays, states, progress, config);
    contents.on_array = moved_on(replicas.world());
    const Transport& pipeline = replicas.pipeline();
    try {
        return write_stage_file(partial, pipeline.rank(), pipeline.num_ranks(), contents);
    } catch (const UserError&) {
        states.take_the_rest();
        throw;
    }
}

/// Reads arrays of one parameter, each whole, as its checksum covers all of it.
class ParameterReader {
public:
    ParameterReader(const CheckpointReader& checkpoint, const Stream& stream,
                    const Parameter& parameter)
        : checkpoint_(checkpoint), stream_(stream), parameter_(parameter)
    {
    }

    void restore()
    {
        const ElementRange all{0, parameter_.spec.shape.num_elements()};
        if (parameter_.has_master())
            read(0, {{parameter_.value, all}, {parameter_.master, parameter_.owned}});
        else
            read(0, {{parameter_.value, all}});
        if (parameter_.owned.empty())
            return; // other replicas have the moments, or nobody needs them
        read(1, {{parameter_.first_moment, parameter_.owned}});
        read(2, {{parameter_.second_moment, parameter_.owned}});
    }

private:
    /// Elements of the array, and where they go.
    struct Part {
        TensorView to;
        ElementRange elements;
    };

    void read(std::size_t group, std::initializer_list<Part> parts)
    {
        const std::string path = dataset_path(state_groups[group], parameter_.spec.name);
        const TensorView& only = parts.begin()->to;
        if (parts.size() == 1 && only.shape == parameter_.spec.shape &&
            only.dtype == stored_dtype(only.dtype)) {
            const HostCopy on_host(stream_, only, HostCopy::Begin::empty);
            checkpoint_.read(path, on_host.view());
            on_host.write_back();
            return;
        }
        const TensorView whole = room_for_all();
        checkpoint_.read(path, whole);
        for (const auto& [to, elements] : parts) {
            if (elements.empty())
                continue;
            const HostCopy on_host(stream_, to, HostCopy::Begin::empty);
            kernels::launch(Stream{},
                            kernels::Copy{.from = whole.slice(elements.begin, {elements.size()}),
                                          .to = on_host.view()});
            on_host.write_back();
        }
    }

    /// The gradient, where the host reaches it and it holds as much as the file.
    TensorView room_for_all()
    {
        const TensorView& gradient = parameter_.gradient;
        const DType stored = stored_dtype(parameter_.first_moment.dtype);
        if (!gradient.empty() && gradient.device.kind == DeviceKind::cpu &&
            gradient.dtype == stored)
            return gradient;
        const Shape& shape = parameter_.spec.shape;
        memory_.resize(static_cast<std::size_t>(shape.num_elements()) * size_of(stored));
        return {memory_.data(), stored, shape, {}};
    }

    const CheckpointReader& checkpoint_;
    const Stream& stream_;
    const Parameter& parameter_;
    std::vector<std::byte> memory_;
};

} // namespace

std::string save_checkpoint(const fs::path& checkpoints, Stage& stage, const Replicas& replicas,
                            const CheckpointProgress& progress, const RunConfig& config)
{
    Transport& transport = replicas.world();
    const SaveFolders folders(checkpoints, progress.update);
    make_partial_folder(transport, folders);
    std::string digest;
    try {
        WrittenStage mine;
        agree(transport, [&] {
            mine.entry = write_share(folders.partial, stage, replicas, progress, config);
        });
        const auto stages = gather_stages(replicas, mine);
        on_rank_zero(transport, [&] { digest = complete_checkpoint(folders, stages, config); });
    } catch (const UserError&) {
        drop_partial_folder(transport, folders);
        throw;
    }
    return text_of_rank_zero(transport, digest);
}

void restore_stage(const CheckpointReader& checkpoint, Stage& stage, RankActivity* activity)
{
    const WarmupState& gates = checkpoint.warmup();
    for (StageChunk& chunk : stage.chunks()) {
        for (const Parameter& parameter : chunk.model->parameters()) {
            ParameterReader(checkpoint, stage.stream(), parameter).restore();
            if (activity != nullptr)
                activity->moved_a_file_on();
        }
        const auto first = static_cast<std::size_t>(chunk.warmup.first_layer());
        const std::size_t count = chunk.warmup.counters().size();
        if (first + count > gates.counters.size())
            throw data_error("the checkpoint has gates of " +
                                 std::to_string(gates.counters.size()) + " layers only",
                             checkpoint.path().string());
        chunk.warmup.restore(std::span(gates.counters).subspan(first, count));
    }
}

std::string parameters_digest(Stage& stage, const Replicas& replicas)
{
    StateGather weights(stage, replicas, Gathered::weights);
    if (replicas.index() > 0) {
        weights.give_all();
        return {};
    }
    std::string mine;
    std::vector<std::byte> stored;
    std::size_t array = 0;
    for (StageChunk& chunk : stage.chunks())
        for (const Parameter& parameter : chunk.model->parameters()) {
            weights.take(array);
            const TensorView weight = weights.view(array++);
            const DType dtype = stored_dtype(weight.dtype);
            stored.resize(static_cast<std::size_t>(weight.num_elements()) * size_of(dtype));
            copy_as_stored(stage.stream(), weight, {stored.data(), dtype, weight.shape, {}});
            synchronize(stage.stream());
            mine +=
                dataset_path("parameters", parameter.spec.name) + " " + checksum_of(stored) + "\n";
        }
    std::vector<std::string> lines;
    for (const std::string& part : replicas.pipeline().gather_text(mine)) {
        std::istringstream stream(part);
        for (std::string line; std::getline(stream, line);)
            lines.push_back(line + "\n");
    }
    std::sort(lines.begin(), lines.end());
    Checksum checksum;
    for (const std::string& line : lines)
        checksum.update(std::as_bytes(std::span(line)));
    return checksum.hex();
}

} // namespace sluice
