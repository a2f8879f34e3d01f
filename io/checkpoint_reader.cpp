#include "io/checkpoint_reader_files.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/hdf5_file.hpp"
#include "io/merged_checkpoint.hpp"
#include "io/trial_reading.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t max_manifest_bytes = std::uint64_t{1} << 28;
constexpr std::uint64_t max_index_bytes = std::uint64_t{1} << 28;
constexpr const char* use_another =
    "use another checkpoint; `sluice checkpoint list RUN_DIR --verify` tells which are whole";

Manifest read_manifest(const fs::path& folder)
{
    const fs::path path = folder / manifest_name;
    std::error_code error;
    if (!fs::is_directory(folder, error))
        throw data_error("there is no such checkpoint", folder.string(), "check the path");
    if (!fs::exists(path, error))
        throw data_error("not a finished checkpoint: it has no " + std::string(manifest_name),
                         folder.string(),
                         "choose a folder like checkpoints/" + checkpoint_folder_name(1000));
    if (fs::symlink_status(path, error).type() != fs::file_type::regular) // a pipe would not end
        throw data_error(path.string() + ": is not a regular file of this folder", folder.string(),
                         use_another);
    return parse_manifest(read_file(path, max_manifest_bytes), path.string());
}

/// Absent from older checkpoints.
std::string known_text(const Hdf5Reader& file, std::string_view attribute)
{
    return file.attribute("/progress", attribute) ? file.text_attribute("/progress", attribute)
                                                  : std::string();
}

/// Absent from checkpoints of runs that met none, and from older ones.
void read_anomalies(const Hdf5Reader& file, const std::string& where, CheckpointProgress& progress)
{
    constexpr std::uint64_t most = std::uint64_t{1} << 20;
    if (file.attribute("/progress", "num_rewinds"))
        progress.num_rewinds = file.int64_attribute("/progress", "num_rewinds");
    if (file.exists("/progress/skipped_batches"))
        progress.skipped = SkippedBatches(
            file.read_vector<std::int64_t>("/progress/skipped_batches", most), where);
    if (file.exists("/progress/recent_losses"))
        progress.recent_losses = file.read_vector<double>("/progress/recent_losses", most);
}

/// Programs that follow the index's links stay in the folder: each leads to its tensor's file.
void check_links(const Hdf5Reader& index, const Manifest& manifest, const std::string& where)
{
    auto expected = manifest.arrays.begin(); // in order of path, as the links
    for (const Hdf5Link& link : index.foreign_links()) {
        while (expected != manifest.arrays.end() && expected->info.path < link.path)
            ++expected;
        const bool good = expected != manifest.arrays.end() && expected->info.path == link.path &&
                          link.target == link.path &&
                          link.file == manifest.stage_file(expected->info.stage).file;
        if (!good)
            throw data_error("the link " + link.path + " leads to " +
                                 (link.file.empty() ? "another place" : link.file + link.target) +
                                 ", which is not where the manifest says",
                             where, use_another);
    }
}

/// In place of a checksum of the whole file, which a merged one does not have.
void check_sections(const Hdf5Reader& file, const std::map<std::string, std::string>& expected,
                    const std::string& where)
{
    for (const auto& [path, checksum] : expected)
        if (file.text_attribute(path, "checksum") != checksum)
            throw data_error(path + " is damaged: its checksum is not the one beside it", where,
                             use_another);
}

} // namespace

DamageableFile::DamageableFile(const fs::path& path) : path_(path)
{
    // O_NONBLOCK: a pipe planted under the name must not hang us; it is refused below.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor_ < 0)
        throw file_error("open", path, errno);
}

DamageableFile::~DamageableFile() { ::close(descriptor_); }

std::size_t DamageableFile::read(std::uint64_t offset, std::span<std::byte> into) const
{
    return read_at(descriptor_, offset, into, path_);
}

std::string problem_with(const fs::path& folder, const ManifestEntry& entry)
{
    const std::string file = (folder / entry.file).string();
    struct stat status {};
    if (::lstat(file.c_str(), &status) != 0)
        return file + (errno == ENOENT ? ": is missing"
                                       : ": " + file_error("lstat", file, errno).problem());
    if (!S_ISREG(status.st_mode))
        return file + ": is not a regular file of this folder";
    if (static_cast<std::uint64_t>(status.st_size) != entry.size_bytes)
        return file + ": has " + std::to_string(status.st_size) + " bytes, the manifest says " +
               std::to_string(entry.size_bytes);
    return {};
}

const CheckpointReader::Files::Index& CheckpointReader::Files::loaded_index()
{
    if (!index)
        index = read_index();
    return *index;
}

/// What of it HDF5 reads.
CheckpointReader::Files::Index CheckpointReader::Files::index_in(const Hdf5Reader& file) const
{
    const std::string where = (folder / manifest.index_file().file).string();
    check_links(file, manifest, where);
    Index found;
    found.progress = {.update = file.int64_attribute("/progress", "update"),
                      .samples = file.int64_attribute("/progress", "samples"),
                      .tokens = file.int64_attribute("/progress", "tokens"),
                      .seed = file.uint64_attribute("/progress", "seed"),
                      .program = known_text(file, "program"),
                      .arithmetic = known_text(file, "arithmetic")};
    read_anomalies(file, where, found.progress);
    found.config_toml = file.read_text("/config");
    const auto num_layers = static_cast<std::uint64_t>(manifest.num_layers);
    found.warmup.counters = file.read_vector<std::int64_t>("/warmup/counter", num_layers);
    found.warmup.alphas = file.read_vector<double>("/warmup/alpha", num_layers);
    if (found.warmup.counters.size() != num_layers || found.warmup.alphas.size() != num_layers)
        throw data_error("/warmup does not have one entry for each of the " +
                             std::to_string(num_layers) + " layers",
                         where, use_another);
    if (manifest.merged)
        check_sections(file, section_checksums(found.progress, found.config_toml, found.warmup),
                       where);
    return found;
}

CheckpointReader::Files::Index CheckpointReader::Files::read_index() const
{
    const ManifestEntry& entry = manifest.index_file();
    const fs::path path = folder / entry.file;
    if (manifest.merged)
        return read_after_trial(path.string(), "HDF5", [&] { return index_in(Hdf5Reader(path)); });
    if (entry.size_bytes > max_index_bytes)
        throw data_error("has " + std::to_string(entry.size_bytes) + " bytes, far too many",
                         path.string(), use_another);
    std::vector<std::byte> image(static_cast<std::size_t>(entry.size_bytes));
    const std::size_t got = DamageableFile(path).read(0, image);
    const auto bytes = std::span(image).first(got);
    if (checksum_of(bytes) != entry.checksum)
        throw data_error("the file is damaged: its checksum is not that of the manifest",
                         path.string(), use_another);
    Index found = read_after_trial(path.string(), "HDF5",
                                   [&] { return index_in(Hdf5Reader(bytes, path.string())); });
    if (found.progress.update != manifest.update)
        throw data_error("is of update " + std::to_string(found.progress.update) +
                             ", the manifest of update " + std::to_string(manifest.update),
                         path.string(), use_another);
    return found;
}

CheckpointReader::CheckpointReader(const fs::path& path) : files_(std::make_unique<Files>())
{
    std::error_code error;
    const bool merged = fs::is_regular_file(path, error);
    const fs::path real = merged ? fs::canonical(path) : path; // its own name may be a link
    files_->path = path;
    files_->folder = merged ? real.parent_path() : path;
    files_->manifest = merged ? manifest_of_merged(real) : read_manifest(path);
    // Runs go by names: which is the newest, which are old.
    if (const auto named = merged ? std::nullopt : update_in_name(path.filename().string());
        named && *named != update())
        throw data_error("the name says update " + std::to_string(*named) +
                             ", and the checkpoint is of update " + std::to_string(update()),
                         path.string(),
                         "give it its name back, " + checkpoint_folder_name(update()));
    for (const ManifestArray& array : files_->manifest.arrays)
        files_->infos.push_back(array.info);
    for (const ManifestEntry& entry : files_->manifest.files) {
        const std::string problem = problem_with(files_->folder, entry);
        if (!problem.empty())
            throw data_error("the checkpoint is not whole: " + problem, path.string(), use_another);
    }
}

CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

const fs::path& CheckpointReader::path() const { return files_->path; }
const std::vector<ManifestEntry>& CheckpointReader::manifest() const
{
    return files_->manifest.files;
}
const std::string& CheckpointReader::parameters_digest() const
{
    return files_->manifest.parameters_digest;
}
std::int64_t CheckpointReader::update() const { return files_->manifest.update; }
const std::string& CheckpointReader::state_digest() const { return files_->manifest.state_digest; }
const std::string& CheckpointReader::created_at() const { return files_->manifest.created_at; }
const CheckpointProgress& CheckpointReader::progress() const
{
    return files_->loaded_index().progress;
}
const std::string& CheckpointReader::config_toml() const
{
    return files_->loaded_index().config_toml;
}
int CheckpointReader::num_stages() const { return files_->manifest.num_stages(); }
const WarmupState& CheckpointReader::warmup() const { return files_->loaded_index().warmup; }
const std::vector<CheckpointReader::ArrayInfo>& CheckpointReader::arrays() const
{
    return files_->infos;
}

const CheckpointReader::ArrayInfo* CheckpointReader::find(std::string_view path) const
{
    const auto& infos = files_->infos;
    const auto place =
        std::lower_bound(infos.begin(), infos.end(), path,
                         [](const ArrayInfo& info, std::string_view p) { return info.path < p; });
    return place != infos.end() && place->path == path ? &*place : nullptr;
}

void CheckpointReader::read(std::string_view path, const TensorView& into) const
{
    SLUICE_CHECK(into.device.kind == DeviceKind::cpu, "destination of " << path);
    const ArrayInfo* info = find(path);
    if (info == nullptr)
        throw data_error("the checkpoint has no tensor " + std::string(path), files_->path.string(),
                         "it is of another model: check the [model] section of the run file");
    const fs::path file = files_->folder / files_->manifest.stage_file(info->stage).file;
    const std::string where = file.string() + ": " + info->path;
    if (info->dtype != into.dtype || info->shape != into.shape)
        throw data_error(
            "has " + std::string(name_of(info->dtype)) + info->shape.text() + ", the model needs " +
                std::string(name_of(into.dtype)) + into.shape.text(),
            where, "it is of another model: check the [model] section of the run file");
    const ManifestArray& array =
        files_->manifest.arrays[static_cast<std::size_t>(info - files_->infos.data())];
    const std::span bytes(static_cast<std::byte*>(into.data), into.num_bytes());
    const std::size_t got = DamageableFile(file).read(array.file_offset, bytes);
    if (got != bytes.size() || checksum_of(bytes) != info->checksum)
        throw data_error("the tensor is damaged: its checksum is not that of the manifest", where,
                         use_another);
}

} // namespace sluice
