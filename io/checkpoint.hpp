// Checkpoints on disk: named arrays in per-stage HDF5 files, an index, a manifest written last.
// The format is docs/checkpoint-format.md. This file sees named arrays, never layers.
//
//     checkpoints/update-00001000/stage-0000-of-0002.h5   written by its owner
//                                 stage-0001-of-0002.h5
//                                 checkpoint.h5           index: external links to the whole tree
//                                 manifest.json           last; sizes and checksums of all files
//
// Until it is complete the folder is called `.update-00001000.partial`; a folder without a manifest
// does not exist as a checkpoint.
#pragma once

#include "core/error.hpp"
#include "core/tensor_view.hpp"
#include "io/skipped_batches.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// An array to be written, or one found in a file. `path` is its place in the tree:
/// "/parameters/model/layers/7/self_attn/q_proj/weight". Data must be f32, f64 or i32 on the CPU.
struct NamedArray {
    std::string path;
    TensorView view;
    /// Called right before the array is written, to bring its elements into `view`; arrays may
    /// then share memory. Empty: they are there.
    std::function<void()> fetch{};
};

/// "model.layers.7.self_attn.q_proj.weight" under "parameters" ->
/// "/parameters/model/layers/7/self_attn/q_proj/weight".
std::string dataset_path(std::string_view group, std::string_view parameter_name);

/// What every file of a checkpoint says about the run.
struct CheckpointProgress {
    std::int64_t update = 0;  ///< completed updates
    std::int64_t samples = 0; ///< sequences trained on
    std::int64_t tokens = 0;
    std::uint64_t seed = 0;
    /// What anomalies left behind; a checkpoint without them has none of it.
    SkippedBatches skipped{};
    std::int64_t num_rewinds = 0;        ///< times that updates were refused and the run went back
    std::vector<double> recent_losses{}; ///< of the last updates, oldest first
    std::string program{};               ///< that wrote it; empty: not known
    std::string arithmetic{};            ///< what rounded its numbers, in words; empty: not known
};

/// The gates of the layers one stage owns; entry i belongs to layer first_layer + i.
struct WarmupState {
    std::int64_t first_layer = 0;
    std::vector<std::int64_t> counters;
    std::vector<double> alphas;
};

struct StageContents {
    std::vector<NamedArray> arrays;  ///< below /parameters and /optimizer; none of them empty
    std::vector<WarmupState> warmup; ///< one per chunk of the stage
    CheckpointProgress progress;
    std::string config_toml; ///< the resolved run file
    /// Called before each array is written, for whoever watches that it goes on; or empty.
    std::function<void()> on_array{};
};

/// One file as the manifest lists it.
struct ManifestEntry {
    std::string file;
    std::uint64_t size_bytes = 0;
    std::string checksum;
};

/// Writes one stage's file durably into the partial folder (created when missing, not those above).
/// Each dataset of `arrays` carries an attribute `checksum` of its bytes. Throws UserError (data)
/// naming file and cause; nothing half-written is left under the final name.
ManifestEntry write_stage_file(const std::filesystem::path& partial_folder, int stage,
                               int num_stages, const StageContents& contents);

/// Rank 0, after every stage's file is there: index, manifest, rename to `final_folder`. Returns
/// the digest of all parameters' bytes (hex; the same for any number of stages): the checksum over
/// the sorted list of (path, dataset checksum) of everything below /parameters.
std::string finish_checkpoint(const std::filesystem::path& partial_folder,
                              const std::filesystem::path& final_folder,
                              const std::vector<ManifestEntry>& stages);

/// Begins a save and takes it back: throws UserError (data) where one could
/// not be written, for its folder's permissions or the length of its names.
void require_writable(const std::filesystem::path& checkpoints);

std::string checkpoint_folder_name(std::int64_t update); ///< "update-00001000"
std::string partial_folder_name(std::int64_t update);    ///< ".update-00001000.partial"
/// 1000 for "update-00001000"; empty for names we did not give.
std::optional<std::int64_t> update_in_name(const std::string& folder_name);
/// 1000 for a folder that list_checkpoints() gave.
std::int64_t update_of_checkpoint(const std::filesystem::path& folder);

/// Completed checkpoints below `checkpoints`, oldest first. Folders without a manifest are not
/// listed.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& checkpoints);
/// With those folders. A save gives a folder its name once the manifest is in it: somebody or
/// something has taken that away since.
std::vector<std::filesystem::path>
list_named_as_checkpoints(const std::filesystem::path& checkpoints);
bool has_manifest(const std::filesystem::path& folder);
/// The cheap check that retention makes: the manifest has its own checksum, and every file it lists
/// is there with its size. What CheckpointReader::verify() finds beyond that is not looked for.
bool looks_whole(const std::filesystem::path& folder);
/// Which checkpoints of a run stay.
struct Retention {
    std::int64_t keep_last = 0;  ///< so many of the newest; 0: all
    std::int64_t keep_every = 0; ///< and those of updates that are multiples of it; 0: none
    /// How far the run goes back from an anomaly; 0: never. Where it may, three times as much of
    /// its past stays, in steps of half of that: one checkpoint for the next rewind, and more for
    /// the two that follow when it cures nothing.
    std::int64_t rewind_updates = 0;
};
using IsWhole = std::function<bool(const std::filesystem::path& folder)>;
/// What the rules let go, oldest first. A checkpoint that `is_whole` refuses counts for nothing, so
/// that the last whole one always stays; it goes once it is older than those that are kept.
/// `newest`: the update of the one that was just written. Later ones, which a resume has passed
/// over, count for nothing and stay.
std::vector<std::filesystem::path>
superfluous_checkpoints(const std::filesystem::path& checkpoints, const Retention& retention,
                        std::optional<std::int64_t> newest = std::nullopt,
                        const IsWhole& is_whole = looks_whole);
/// Partial folders of saves that died, and what remains of deletions that did; not what
/// put_back_replaced() puts back.
std::vector<std::filesystem::path> leftovers_of_saves(const std::filesystem::path& checkpoints);
/// Where a checkpoint goes for the moment in which another one of its update takes its name, on a
/// file system that cannot exchange the two.
std::filesystem::path replaced_folder(const std::filesystem::path& final_folder);
/// Gives those their names back whose successors never came: a save died in that moment. Returns
/// the checkpoints.
std::vector<std::filesystem::path> put_back_replaced(const std::filesystem::path& checkpoints);
using OnFailure = std::function<void(const UserError& error)>;
/// Deletes leftovers and what the rules let go. Returns the folders deleted; `on_failure` hears of
/// each that could not be, and the others go on unless it throws.
std::vector<std::filesystem::path> prune_checkpoints(
    const std::filesystem::path& checkpoints, const Retention& retention,
    std::optional<std::int64_t> newest = std::nullopt, const IsWhole& is_whole = looks_whole,
    const OnFailure& on_failure = [](const UserError& error) { throw UserError(error); });
/// Deletes the checkpoints of more than `update` completed updates, newest first: the run went
/// back and leaves their history. Returns the folders deleted.
std::vector<std::filesystem::path>
delete_checkpoints_after(const std::filesystem::path& checkpoints, std::int64_t update);

class CheckpointReader;
/// Writes the whole tree of a checkpoint into one HDF5 file that needs nothing beside it: the same
/// paths, attributes and checksums, no links. Durable; a file that is there already is not touched
/// (UserError, usage). Throws UserError (data) when a tensor is damaged or the file cannot be
/// written.
ManifestEntry merge_checkpoint(const CheckpointReader& reader, const std::filesystem::path& out);

/// A checkpoint opened for reading: a folder, or the file that merge_checkpoint() made of one.
class CheckpointReader {
public:
    /// Of a folder, reads manifest.json only. Throws UserError (data) when it is missing or
    /// malformed, or when a listed file is missing, has another size, or lies outside the folder;
    /// or when a file is no merged checkpoint.
    explicit CheckpointReader(const std::filesystem::path& path);
    ~CheckpointReader();
    CheckpointReader(CheckpointReader&&) noexcept;

    const std::filesystem::path& path() const;
    const std::vector<ManifestEntry>& manifest() const;
    const std::string& parameters_digest() const;
    std::int64_t update() const; ///< that the manifest says
    /// As parameters_digest, over all tensors and the gates' counters: equal for equal runs.
    const std::string& state_digest() const;
    const std::string& created_at() const; ///< UTC, "2026-01-31T23:59:59Z"
    /// The next three are read from checkpoint.h5 when first asked for, after its checksum was
    /// compared. Throw UserError (data) when it is damaged.
    const CheckpointProgress& progress() const;
    const std::string& config_toml() const;
    /// All layers' counters and alphas, in layer order.
    const WarmupState& warmup() const;
    int num_stages() const; ///< files that hold tensors

    struct ArrayInfo {
        std::string path;
        DType dtype = DType::f32;
        Shape shape;
        std::string checksum; ///< of its bytes
        int stage = 0;        ///< file that holds it
    };
    /// Every dataset below /parameters and /optimizer, sorted by path.
    const std::vector<ArrayInfo>& arrays() const;
    const ArrayInfo* find(std::string_view path) const; ///< nullptr when absent

    /// Reads one array (from its place in the file, without HDF5) and compares its checksum. The
    /// destination's shape and dtype must match. Throws UserError (data) naming file and tensor.
    void read(std::string_view path, const TensorView& into) const;

    /// Compares sizes and checksums of all files, then of every dataset. Returns every problem
    /// found, each naming file and, where it can, the tensor. Never throws for damage. `on_block`
    /// is called after every MiB that was read.
    std::vector<std::string> verify(const std::function<void()>& on_block = [] {}) const;

private:
    struct Files;
    std::unique_ptr<Files> files_;
};

/// What CheckpointReader::verify() finds, or why it cannot be read; empty where it is whole.
std::vector<std::string> problems_in_checkpoint(
    const std::filesystem::path& folder, const std::function<void()>& on_block = [] {});

} // namespace sluice
