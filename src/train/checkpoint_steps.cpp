#include "src/train/checkpoint_steps.hpp"

#include "core/compute_stream.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "layers/kernels/elementwise.hpp"
#include "pipeline/agreement.hpp"

#include <nlohmann/json.hpp>

namespace sluice {

namespace fs = std::filesystem;

std::function<void()> moved_on(Transport& transport)
{
    RankActivity* const activity = transport.activity();
    if (activity == nullptr)
        return [] {};
    return [activity] { activity->moved_a_file_on(); };
}

WarmupState warmup_state_of(const StageChunk& chunk)
{
    const auto counters = chunk.warmup.counters();
    const auto alphas = chunk.warmup.alphas();
    return {.first_layer = chunk.warmup.first_layer(),
            .counters = {counters.begin(), counters.end()},
            .alphas = {alphas.begin(), alphas.end()}};
}

DType stored_dtype(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

void copy_as_stored(const Stream& stream, const TensorView& from, const TensorView& to)
{
    if (from.dtype == to.dtype) {
        synchronize(stream); // as HostCopy does
        copy(stream, from, to);
        return;
    }
    kernels::launch(Stream{}, kernels::Copy{.from = HostCopy(stream, from).view(), .to = to});
}

SaveFolders::SaveFolders(const fs::path& all, std::int64_t update)
    : update(update), checkpoints(all), partial(all / partial_folder_name(update)),
      final(all / checkpoint_folder_name(update))
{
}

namespace {

/// Somebody has deleted all checkpoints: a run goes on for as long as its folder is there. False
/// where it is not.
bool make_again(const fs::path& checkpoints)
{
    std::error_code error;
    if (!fs::is_directory(checkpoints.parent_path(), error))
        return false;
    fs::create_directory(checkpoints, error);
    if (error)
        throw data_error("the folder is gone, or a link to nothing, and cannot be made again: " +
                             error.message(),
                         checkpoints.string(), "put it back");
    fsync_folder(checkpoints.parent_path());
    log_warning(checkpoints.string() + " was gone; it is made again");
    return true;
}

} // namespace

void make_partial_folder(Transport& world, const SaveFolders& folders)
{
    on_rank_zero(world, [&] {
        std::error_code error;
        remove_folder(folders.partial, error);
        // Not those above: the run's lock, metrics and log would be lost for all that.
        fs::create_directory(folders.partial, error);
        if (error == std::errc::no_such_file_or_directory && make_again(folders.checkpoints))
            fs::create_directory(folders.partial, error);
        if (error == std::errc::no_such_file_or_directory)
            throw data_error("the run folder has been removed or moved: nothing can be saved",
                             folders.checkpoints.string(),
                             "where it was moved, move it back, and run again: that goes on from "
                             "the newest checkpoint");
        if (error)
            throw data_error("cannot create the folder: " + error.message(),
                             folders.partial.string(), "check permissions and free space");
    });
}

void drop_partial_folder(const Transport& world, const SaveFolders& folders) noexcept
{
    std::error_code ignored;
    if (world.rank() == 0)
        remove_folder(folders.partial, ignored);
}

std::vector<WrittenStage> gather_stages(const Replicas& replicas, const WrittenStage& mine)
{
    const ManifestEntry& entry = mine.entry;
    auto texts = replicas.world().gather_text(
        nlohmann::json{entry.file, entry.size_bytes, entry.checksum, mine.seconds}.dump());
    texts.resize(static_cast<std::size_t>(replicas.ranks_per_replica()));
    std::vector<WrittenStage> stages;
    for (const std::string& text : texts) {
        const auto json = nlohmann::json::parse(text);
        stages.push_back({{json[0], json[1].get<std::uint64_t>(), json[2]}, json[3].get<double>()});
    }
    return stages;
}

std::string complete_checkpoint(const SaveFolders& folders, const std::vector<WrittenStage>& stages,
                                const RunConfig& config)
{
    std::vector<ManifestEntry> entries;
    for (const WrittenStage& stage : stages)
        entries.push_back(stage.entry);
    const std::string digest = finish_checkpoint(folders.partial, folders.final, entries);
    delete_old_checkpoints(folders.checkpoints,
                           {.keep_last = config.checkpoint.keep_last,
                            .keep_every = config.checkpoint.keep_every,
                            .rewind_updates = config.anomaly.reach_back()},
                           folders.update);
    return digest;
}

void delete_old_checkpoints(const fs::path& checkpoints, const Retention& retention,
                            std::optional<std::int64_t> newest)
{
    const auto looks_whole_or_warn = [](const fs::path& folder) {
        try {
            const CheckpointReader reader(folder);
            return true;
        } catch (const UserError& error) {
            log_warning("does not look whole, and counts for nothing: " +
                        std::string(error.what()));
            return false;
        }
    };
    const auto warn = [](const UserError& error) {
        log_warning(std::string("an old checkpoint could not be deleted, and the next save tries "
                                "again: ") +
                    error.what());
    };
    try {
        prune_checkpoints(checkpoints, retention, newest, looks_whole_or_warn, warn);
    } catch (const UserError& error) {
        warn(error);
    }
}

} // namespace sluice
