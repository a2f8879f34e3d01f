#include "io/merged_checkpoint.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint_sections.hpp"
#include "io/output_lock.hpp"
#include "io/trial_reading.hpp"

namespace sluice {

namespace fs = std::filesystem;

namespace {

constexpr const char* merged_format = "sluice-checkpoint-merged";
constexpr std::int64_t most_layers = std::int64_t{1} << 24;
constexpr const char* use_another = "use another copy, or merge the checkpoint again";

/// Sorted by path: "/optimizer/..." before "/parameters/...".
constexpr std::string_view tensor_groups[] = {"/optimizer", "/parameters"};

template <class T>
std::string checksum_of_all(const std::vector<T>& values)
{
    return checksum_of(std::as_bytes(std::span(values)));
}

DType dtype_of(Hdf5Type type, const std::string& path, const std::string& where)
{
    for (const DType dtype : {DType::f32, DType::f64, DType::i32})
        if (type == hdf5_type_of(dtype))
            return dtype;
    throw data_error(path + ": " + std::string(name_of(type)) + " is no type of a tensor", where,
                     use_another);
}

ManifestArray array_in(const Hdf5Reader& file, const std::string& path, const std::string& where)
{
    if (!is_tensor_path(path))
        throw data_error("the path of a tensor is not possible", where, use_another);
    const Hdf5DatasetInfo dataset = file.dataset(path);
    const auto shape = possible_shape(dataset.extents);
    if (!shape || !dataset.file_offset)
        throw data_error(path + ": has no possible shape or place", where, use_another);
    return {.info = {.path = path,
                     .dtype = dtype_of(dataset.type, path, where),
                     .shape = *shape,
                     .checksum = file.text_attribute(path, "checksum"),
                     .stage = 0},
            .file_offset = *dataset.file_offset};
}

void require_format(const Hdf5Reader& file, const std::string& where)
{
    const auto format = file.attribute("/", "format");
    const auto* name = format ? std::get_if<std::string>(&*format) : nullptr;
    if (name == nullptr || *name != merged_format)
        throw data_error(name != nullptr && name->starts_with("sluice-checkpoint-")
                             ? "only a part of a checkpoint, which is a folder"
                             : "not a checkpoint",
                         where,
                         "name a folder like checkpoints/" + checkpoint_folder_name(1000) +
                             ", or a file made by `sluice checkpoint merge`");
    const std::int64_t version = file.int64_attribute("/", "format_version");
    if (version != checkpoint_format_version)
        throw data_error("has format version " + std::to_string(version) +
                             ", and this program reads version " +
                             std::to_string(checkpoint_format_version),
                         where, "use the program that merged it, or a newer one");
}

Manifest manifest_in(const Hdf5Reader& file, const fs::path& path)
{
    const std::string where = path.string();
    require_format(file, where);
    Manifest manifest;
    manifest.merged = true;
    manifest.update = file.int64_attribute("/progress", "update");
    manifest.num_layers = file.int64_attribute("/", "num_layers");
    if (manifest.update < 0 || manifest.num_layers < 0 || manifest.num_layers > most_layers)
        throw data_error("its update or number of layers is not possible", where, use_another);
    if (file.attribute("/", "created_at"))
        manifest.created_at = file.text_attribute("/", "created_at");
    manifest.parameters_digest = file.text_attribute("/", "parameters_digest");
    manifest.state_digest = file.text_attribute("/", "state_digest");
    manifest.files = {
        {.file = path.filename().string(), .size_bytes = fs::file_size(path), .checksum = {}}};
    for (const std::string_view group : tensor_groups)
        if (file.exists(group))
            for (const std::string& dataset : file.datasets_below(group))
                manifest.arrays.push_back(array_in(file, dataset, where));
    if (const std::string problem = problem_with_arrays(manifest); !problem.empty())
        throw data_error("the file is damaged or not ours: it " + problem, where, use_another);
    return manifest;
}

} // namespace

Manifest manifest_of_merged(const fs::path& path)
{
    return read_after_trial(path.string(), "HDF5",
                            [&] { return manifest_in(Hdf5Reader(path), path); });
}

std::map<std::string, std::string> section_checksums(const CheckpointProgress& progress,
                                                     const std::string& config_toml,
                                                     const WarmupState& gates)
{
    std::map<std::string, std::string> checksums{
        {"/config", checksum_of(std::as_bytes(std::span(config_toml)))},
        {"/warmup/alpha", checksum_of_all(gates.alphas)},
        {"/warmup/counter", checksum_of_all(gates.counters)}};
    if (progress.num_rewinds > 0)
        checksums["/progress/skipped_batches"] = checksum_of_all(progress.skipped.flat());
    if (!progress.recent_losses.empty())
        checksums["/progress/recent_losses"] = checksum_of_all(progress.recent_losses);
    return checksums;
}

ManifestEntry merge_checkpoint(const CheckpointReader& reader, const fs::path& out)
{
    std::error_code error;
    if (fs::exists(fs::symlink_status(out, error)))
        throw usage_error("this file is there already", out.string(),
                          "choose another name, or move it away");
    std::uint64_t needed_bytes = (1u << 16) + reader.config_toml().size();
    for (const CheckpointReader::ArrayInfo& info : reader.arrays())
        needed_bytes +=
            static_cast<std::uint64_t>(info.shape.num_elements()) * size_of(info.dtype) + 2048;
    require_free_space(out.has_parent_path() ? out.parent_path() : ".", needed_bytes);

    const OutputLock lock(out);
    Hdf5Writer file(out);
    file.set_attribute("/", "format", merged_format);
    file.set_attribute("/", "format_version", checkpoint_format_version);
    file.set_attribute("/", "created_at", reader.created_at());
    file.set_attribute("/", "num_layers",
                       static_cast<std::int64_t>(reader.warmup().counters.size()));
    file.set_attribute("/", "parameters_digest", reader.parameters_digest());
    file.set_attribute("/", "state_digest", reader.state_digest());
    write_progress(file, reader.progress(), reader.config_toml());
    write_gates(file, reader.warmup().counters, reader.warmup().alphas);
    for (const auto& [path, checksum] :
         section_checksums(reader.progress(), reader.config_toml(), reader.warmup()))
        file.set_attribute(path, "checksum", checksum);
    std::vector<std::byte> bytes;
    for (const CheckpointReader::ArrayInfo& info : reader.arrays()) {
        bytes.resize(static_cast<std::size_t>(info.shape.num_elements()) * size_of(info.dtype));
        const TensorView tensor{bytes.data(), info.dtype, info.shape, Device{}};
        reader.read(info.path, tensor); // and compares its checksum
        write_tensor(file, info.path, tensor);
    }
    const Hdf5FileSummary written = file.commit();
    return {out.filename().string(), written.size_bytes, written.checksum};
}

} // namespace sluice
