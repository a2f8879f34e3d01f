#include "core/checksum.hpp"
#include "core/error.hpp"
#include "io/checkpoint_reader_files.hpp"
#include "io/hdf5_file.hpp"
#include "io/trial_reading.hpp"

#include <algorithm>

namespace sluice {

namespace fs = std::filesystem;

namespace {

using Arrays = std::vector<const ManifestArray*>;

/// Tensors of one stage in the order of their places in its file.
Arrays arrays_of_stage(const Manifest& manifest, int stage)
{
    Arrays arrays;
    for (const ManifestArray& array : manifest.arrays)
        if (array.info.stage == stage)
            arrays.push_back(&array);
    std::sort(arrays.begin(), arrays.end(),
              [](const auto* a, const auto* b) { return a->file_offset < b->file_offset; });
    return arrays;
}

struct ScanResult {
    std::string file_checksum;
    Arrays damaged;
};

/// One pass over the file for its own checksum and those of its tensors, which do not overlap.
ScanResult scan(const fs::path& path, std::uint64_t size_bytes, const Arrays& arrays,
                const std::function<void()>& on_block)
{
    const DamageableFile file(path);
    std::vector<std::byte> block(
        std::min<std::uint64_t>(std::max<std::uint64_t>(size_bytes, 1), 1u << 20));
    Checksum whole;
    Checksum current;
    ScanResult result;
    std::size_t next = 0;
    for (std::uint64_t begin = 0; begin < size_bytes; begin += block.size()) {
        const std::size_t got = file.read(begin, block);
        const std::uint64_t end = begin + got;
        whole.update(std::span(block).first(got));
        on_block();
        while (next < arrays.size() && arrays[next]->file_offset < end) {
            const std::uint64_t array_begin = arrays[next]->file_offset;
            const std::uint64_t array_end = array_begin + arrays[next]->num_bytes();
            const std::uint64_t from = std::max(begin, array_begin);
            const std::uint64_t to = std::min(end, array_end);
            current.update(std::span(block).subspan(from - begin, to - from));
            if (to < array_end)
                break;
            if (current.hex() != arrays[next]->info.checksum)
                result.damaged.push_back(arrays[next]);
            current = Checksum();
            ++next;
        }
        if (got < block.size())
            break;
    }
    for (; next < arrays.size(); ++next) // what a shorter file no longer has
        result.damaged.push_back(arrays[next]);
    result.file_checksum = whole.hex();
    return result;
}

/// What HDF5 shows of a whole stage file against what the manifest says of it.
std::string tree_problem(const fs::path& path, const Arrays& arrays)
{
    const Hdf5Reader file(path);
    for (const Hdf5Link& link : file.foreign_links())
        return "the link " + link.path + " does not belong into a stage's file";
    for (const ManifestArray* array : arrays) {
        const Hdf5DatasetInfo dataset = file.dataset(array->info.path);
        std::vector<std::uint64_t> extents;
        for (int axis = 0; axis < array->info.shape.rank(); ++axis)
            extents.push_back(static_cast<std::uint64_t>(array->info.shape[axis]));
        if (dataset.type != hdf5_type_of(array->info.dtype) || dataset.extents != extents ||
            dataset.file_offset != array->file_offset ||
            file.text_attribute(array->info.path, "checksum") != array->info.checksum)
            return array->info.path +
                   ": type, shape, place or checksum is not that of the manifest";
    }
    return {};
}

void verify_stage(const fs::path& path, const ManifestEntry& entry, const Arrays& arrays,
                  const std::function<void()>& on_block, std::vector<std::string>& problems)
{
    const ScanResult found = scan(path, entry.size_bytes, arrays, on_block);
    for (const ManifestArray* array : found.damaged)
        problems.push_back(path.string() + ": " + array->info.path +
                           ": the tensor is damaged (checksum)");
    if (!entry.checksum.empty() && found.file_checksum != entry.checksum) {
        if (found.damaged.empty())
            problems.push_back(path.string() +
                               ": the file is damaged outside its tensors (checksum)");
        return; // HDF5 opens whole files only
    }
    const std::string problem =
        read_after_trial(path.string(), "HDF5", [&] { return tree_problem(path, arrays); });
    if (!problem.empty())
        problems.push_back(path.string() + ": " + problem);
}

} // namespace

std::vector<std::string> CheckpointReader::verify(const std::function<void()>& on_block) const
{
    const Manifest& manifest = files_->manifest;
    std::vector<std::string> problems;
    std::optional<Files::Index> index; // from the disk again, not from memory
    const auto guarded = [&](const auto& work) {
        try {
            work();
        } catch (const UserError& error) {
            problems.push_back(error.where() + ": " + error.problem());
        }
    };
    for (int stage = -1; stage < manifest.num_stages(); ++stage) {
        const ManifestEntry& entry = stage < 0 ? manifest.index_file() : manifest.stage_file(stage);
        std::string problem = problem_with(files_->folder, entry);
        if (!problem.empty()) {
            problems.push_back(std::move(problem));
            continue;
        }
        guarded([&] {
            if (stage < 0) {
                index = files_->read_index();
            } else {
                verify_stage(files_->folder / entry.file, entry, arrays_of_stage(manifest, stage),
                             on_block, problems);
            }
        });
    }
    guarded([&] {
        const std::string where =
            (manifest.merged ? files_->path : files_->folder / manifest_name).string();
        if (digest_of(manifest.arrays, "/parameters/") != manifest.parameters_digest)
            throw data_error("parameters_digest is not that of the listed tensors", where);
        if (index &&
            state_digest_of(manifest.arrays, index->warmup.counters) != manifest.state_digest)
            throw data_error("state_digest is not that of the listed tensors and gates", where);
    });
    return problems;
}

std::vector<std::string> problems_in_checkpoint(const std::filesystem::path& folder,
                                                const std::function<void()>& on_block)
{
    try {
        return CheckpointReader(folder).verify(on_block);
    } catch (const UserError& error) {
        return {error.where() + ": " + error.problem()};
    }
}

} // namespace sluice
