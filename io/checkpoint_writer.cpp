#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint_manifest.hpp"
#include "io/checkpoint_sections.hpp"
#include "io/utc_time.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>

namespace sluice {

namespace fs = std::filesystem;

namespace {

std::string summary_name(const std::string& stage_file) { return stage_file + ".summary"; }

/// One entry per owned layer, in the order of the chunks, with the layers' numbers beside them.
void write_stage_warmup(Hdf5Writer& file, const std::vector<WarmupState>& states)
{
    std::vector<std::int64_t> layers, counters;
    std::vector<double> alphas;
    for (const WarmupState& state : states) {
        SLUICE_CHECK(state.counters.size() == state.alphas.size(),
                     state.counters.size() << " counters, " << state.alphas.size() << " alphas");
        for (std::size_t i = 0; i < state.counters.size(); ++i)
            layers.push_back(state.first_layer + static_cast<std::int64_t>(i));
        counters.insert(counters.end(), state.counters.begin(), state.counters.end());
        alphas.insert(alphas.end(), state.alphas.begin(), state.alphas.end());
    }
    write_numbers(file, "/warmup/layer", layers);
    write_gates(file, counters, alphas);
}

/// All stages' gates in layer order; every layer belongs to exactly one stage.
WarmupState merged(const std::vector<StageSummary>& stages)
{
    std::vector<const WarmupState*> parts;
    for (const StageSummary& stage : stages)
        for (const WarmupState& state : stage.warmup)
            if (!state.counters.empty())
                parts.push_back(&state);
    std::sort(parts.begin(), parts.end(),
              [](const auto* a, const auto* b) { return a->first_layer < b->first_layer; });
    WarmupState all;
    for (const WarmupState* part : parts) {
        SLUICE_CHECK(part->first_layer == static_cast<std::int64_t>(all.counters.size()),
                     "gates of layer " << all.counters.size() << " expected, found those of "
                                       << part->first_layer);
        all.counters.insert(all.counters.end(), part->counters.begin(), part->counters.end());
        all.alphas.insert(all.alphas.end(), part->alphas.begin(), part->alphas.end());
    }
    return all;
}

ManifestEntry write_index(const fs::path& folder, const Manifest& manifest,
                          const StageSummary& any_stage, const WarmupState& gates)
{
    Hdf5Writer file(folder / index_name);
    file.set_attribute("/", "format", "sluice-checkpoint-index");
    file.set_attribute("/", "format_version", checkpoint_format_version);
    file.set_attribute("/", "num_stages", std::int64_t{manifest.num_stages()});
    file.set_attribute("/", "num_layers", manifest.num_layers);
    file.set_attribute("/", "parameters_digest", manifest.parameters_digest);
    file.set_attribute("/", "state_digest", manifest.state_digest);
    write_progress(file, any_stage.progress, any_stage.config_toml);
    write_gates(file, gates.counters, gates.alphas);
    for (const ManifestArray& array : manifest.arrays)
        file.link_external(array.info.path, manifest.stage_file(array.info.stage).file,
                           array.info.path);
    const Hdf5FileSummary written = file.commit();
    return {std::string(index_name), written.size_bytes, written.checksum};
}

/// On a file system that cannot exchange names: for an instant neither has the final one
/// (put_back_replaced()).
void replace_by_renames(const fs::path& partial, const fs::path& final_folder)
{
    const fs::path aside = replaced_folder(final_folder);
    try {
        rename_durably(final_folder, aside);
        rename_durably(partial, final_folder);
    } catch (const UserError&) {
        std::error_code ignored; // a start puts it back
        fs::rename(aside, final_folder, ignored);
        throw;
    }
    rename_durably(aside, partial);
}

/// Also where a checkpoint of the same update is in the way: the two change places in one step.
void move_into_place(const fs::path& partial, const fs::path& final_folder)
{
    if (!fs::exists(fs::symlink_status(final_folder))) {
        rename_durably(partial, final_folder);
        return;
    }
    if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, final_folder.c_str(), RENAME_EXCHANGE) ==
        0) {
        fsync_folder(final_folder.parent_path());
    } else if (errno == EINVAL || errno == ENOSYS) {
        replace_by_renames(partial, final_folder);
    } else {
        throw file_error("rename", final_folder, errno);
    }
    std::error_code ignored; // what remains is deleted with the next save's leftovers
    remove_folder(partial, ignored);
}

std::vector<StageSummary> collect_summaries(const fs::path& folder,
                                            const std::vector<ManifestEntry>& stages)
{
    std::vector<StageSummary> summaries;
    for (const ManifestEntry& entry : stages) {
        const fs::path file = folder / entry.file;
        std::error_code error;
        const std::uint64_t size = fs::file_size(file, error);
        if (error)
            throw data_error("a stage's file is not there: " + error.message(), file.string(),
                             "all ranks must write to the same file system");
        if (size != entry.size_bytes)
            throw data_error("has " + std::to_string(size) + " bytes, but its stage wrote " +
                                 std::to_string(entry.size_bytes),
                             file.string(), "check the file system");
        const fs::path summary = folder / summary_name(entry.file);
        summaries.push_back(parse_stage_summary(read_file(summary), summary.string()));
        const StageSummary& first = summaries.front();
        const StageSummary& latest = summaries.back();
        SLUICE_CHECK(latest.progress.update == first.progress.update &&
                         latest.config_toml == first.config_toml,
                     entry.file << " is of update " << latest.progress.update << ", stage 0 of "
                                << first.progress.update);
    }
    return summaries;
}

} // namespace

std::string dataset_path(std::string_view group, std::string_view parameter_name)
{
    std::string name(parameter_name);
    std::replace(name.begin(), name.end(), '.', '/');
    return "/" + std::string(group) + "/" + name;
}

std::string checkpoint_folder_name(std::int64_t update)
{
    char name[40];
    std::snprintf(name, sizeof name, "update-%08lld", static_cast<long long>(update));
    return name;
}

std::string partial_folder_name(std::int64_t update)
{
    return "." + checkpoint_folder_name(update) + ".partial";
}

void require_writable(const fs::path& checkpoints)
{
    const fs::path partial = checkpoints / partial_folder_name(0);
    std::error_code error;
    fs::create_directory(partial, error);
    if (error)
        throw file_error("mkdir", partial, error.value());
    const std::string longest = summary_name(stage_file_name(0, 1));
    write_file_durably(partial / std::string(longest.size(), 'x'), "");
    remove_folder(partial, error);
}

ManifestEntry write_stage_file(const fs::path& partial_folder, int stage, int num_stages,
                               const StageContents& contents)
{
    SLUICE_CHECK(stage >= 0 && stage < num_stages, "stage " << stage << " of " << num_stages);
    std::error_code error;
    fs::create_directory(partial_folder, error);
    if (error)
        throw file_error("mkdir", partial_folder, error.value());
    // Headers, attributes and groups take less than 2 KB per tensor.
    std::uint64_t needed_bytes = (1u << 16) + contents.config_toml.size() +
                                 8 * contents.progress.recent_losses.size() +
                                 16 * contents.progress.skipped.ranges().size();
    for (const NamedArray& array : contents.arrays)
        needed_bytes += array.view.num_bytes() + 2048;
    require_free_space(partial_folder, needed_bytes);

    const std::string name = stage_file_name(stage, num_stages);
    Hdf5Writer file(partial_folder / name);
    file.set_attribute("/", "format", "sluice-checkpoint-stage");
    file.set_attribute("/", "format_version", checkpoint_format_version);
    file.set_attribute("/", "stage", std::int64_t{stage});
    file.set_attribute("/", "num_stages", std::int64_t{num_stages});
    write_progress(file, contents.progress, contents.config_toml);
    write_stage_warmup(file, contents.warmup);
    StageSummary summary{.arrays = {},
                         .warmup = contents.warmup,
                         .progress = contents.progress,
                         .config_toml = contents.config_toml};
    for (const NamedArray& array : contents.arrays) {
        SLUICE_CHECK(array.view.device.kind == DeviceKind::cpu && array.view.num_elements() > 0,
                     array.path << " " << array.view.shape.text());
        if (contents.on_array)
            contents.on_array();
        if (array.fetch)
            array.fetch();
        const HashedDataset written = write_tensor(file, array.path, array.view);
        summary.arrays.push_back({.info = {.path = array.path,
                                           .dtype = array.view.dtype,
                                           .shape = array.view.shape,
                                           .checksum = written.checksum,
                                           .stage = stage},
                                  .file_offset = written.file_offset});
    }
    const Hdf5FileSummary written = file.commit();
    write_file_durably(partial_folder / summary_name(name), stage_summary_text(summary));
    return {name, written.size_bytes, written.checksum};
}

std::string finish_checkpoint(const fs::path& partial_folder, const fs::path& final_folder,
                              const std::vector<ManifestEntry>& stages)
{
    const int num_stages = static_cast<int>(stages.size());
    for (int stage = 0; stage < num_stages; ++stage)
        SLUICE_CHECK(stages[static_cast<std::size_t>(stage)].file ==
                         stage_file_name(stage, num_stages),
                     stages[static_cast<std::size_t>(stage)].file);
    SLUICE_CHECK(num_stages > 0, "no stages");
    const std::vector<StageSummary> summaries = collect_summaries(partial_folder, stages);
    const WarmupState gates = merged(summaries);

    Manifest manifest;
    manifest.update = summaries.front().progress.update;
    manifest.num_layers = static_cast<std::int64_t>(gates.counters.size());
    manifest.created_at = utc_now();
    for (const StageSummary& summary : summaries)
        manifest.arrays.insert(manifest.arrays.end(), summary.arrays.begin(), summary.arrays.end());
    std::sort(
        manifest.arrays.begin(), manifest.arrays.end(),
        [](const ManifestArray& a, const ManifestArray& b) { return a.info.path < b.info.path; });
    for (std::size_t i = 1; i < manifest.arrays.size(); ++i)
        SLUICE_CHECK(manifest.arrays[i - 1].info.path != manifest.arrays[i].info.path,
                     "two stages own " << manifest.arrays[i].info.path);
    manifest.parameters_digest = digest_of(manifest.arrays, "/parameters/");
    manifest.state_digest = state_digest_of(manifest.arrays, gates.counters);
    manifest.files.resize(1);
    manifest.files.insert(manifest.files.end(), stages.begin(), stages.end());
    manifest.files.front() = write_index(partial_folder, manifest, summaries.front(), gates);

    for (const ManifestEntry& entry : stages) {
        std::error_code error;
        fs::remove(partial_folder / summary_name(entry.file), error);
        if (error)
            throw file_error("unlink", partial_folder / summary_name(entry.file), error.value());
    }
    write_file_durably(partial_folder / manifest_name, manifest_text(manifest));
    move_into_place(partial_folder, final_folder);
    return manifest.parameters_digest;
}

} // namespace sluice
