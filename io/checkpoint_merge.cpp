#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint_manifest.hpp"
#include "io/checkpoint_sections.hpp"

namespace sluice {

namespace fs = std::filesystem;

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

    Hdf5Writer file(out);
    file.set_attribute("/", "format", "sluice-checkpoint-merged");
    file.set_attribute("/", "format_version", checkpoint_format_version);
    file.set_attribute("/", "num_layers",
                       static_cast<std::int64_t>(reader.warmup().counters.size()));
    file.set_attribute("/", "parameters_digest", reader.parameters_digest());
    file.set_attribute("/", "state_digest", reader.state_digest());
    write_progress(file, reader.progress(), reader.config_toml());
    write_gates(file, reader.warmup().counters, reader.warmup().alphas);
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
