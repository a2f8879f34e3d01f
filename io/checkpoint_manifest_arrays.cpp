// What holds for the list of tensors in a manifest, whatever it was read from.
#include "core/checksum.hpp"
#include "io/checkpoint_manifest.hpp"

#include <algorithm>
#include <array>

namespace sluice {

namespace {

constexpr std::uint64_t max_elements = std::uint64_t{1} << 59;

std::string checksum_of_lines(const std::vector<std::string>& lines)
{
    Checksum sum;
    for (const std::string& line : lines)
        sum.update(std::as_bytes(std::span(line)));
    return sum.hex();
}

std::vector<std::string> sorted_lines(const std::vector<ManifestArray>& arrays,
                                      std::string_view prefix)
{
    std::vector<std::string> lines;
    for (const ManifestArray& array : arrays)
        if (array.info.path.starts_with(prefix))
            lines.push_back(array.info.path + " " + array.info.checksum + "\n");
    std::sort(lines.begin(), lines.end());
    return lines;
}

} // namespace

bool is_tensor_path(std::string_view path)
{
    return path.size() >= 2 && path.size() <= 4096 && path.front() == '/' &&
           std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

std::string problem_with_arrays(const Manifest& manifest)
{
    const auto by_path = [](const ManifestArray& a, const ManifestArray& b) {
        return a.info.path >= b.info.path;
    };
    if (std::adjacent_find(manifest.arrays.begin(), manifest.arrays.end(), by_path) !=
        manifest.arrays.end())
        return "lists the tensors twice or out of order";
    std::vector<const ManifestArray*> arrays;
    for (const ManifestArray& array : manifest.arrays) {
        if (!is_tensor_path(array.info.path))
            return "the path of a tensor is not possible";
        if (array.info.stage >= manifest.num_stages())
            return "puts " + array.info.path + " into a stage that does not exist";
        const std::uint64_t size = manifest.stage_file(array.info.stage).size_bytes;
        if (array.file_offset > size || array.num_bytes() > size - array.file_offset)
            return "puts " + array.info.path + " beyond the end of its file";
        arrays.push_back(&array);
    }
    std::sort(arrays.begin(), arrays.end(), [](const auto* a, const auto* b) {
        return std::pair(a->info.stage, a->file_offset) < std::pair(b->info.stage, b->file_offset);
    });
    for (std::size_t i = 1; i < arrays.size(); ++i)
        if (arrays[i]->info.stage == arrays[i - 1]->info.stage &&
            arrays[i]->file_offset < arrays[i - 1]->file_offset + arrays[i - 1]->num_bytes())
            return "lets " + arrays[i]->info.path + " overlap another tensor";
    return {};
}

std::optional<Shape> possible_shape(std::span<const std::uint64_t> extents)
{
    if (extents.size() > Shape::max_rank)
        return std::nullopt;
    std::uint64_t product = 1;
    std::array<std::int64_t, Shape::max_rank> sizes{};
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
        if (__builtin_mul_overflow(product, extents[axis], &product) || product > max_elements ||
            extents[axis] > max_elements)
            return std::nullopt;
        sizes[axis] = static_cast<std::int64_t>(extents[axis]);
    }
    return Shape(std::span(sizes).first(extents.size()));
}

std::string digest_of(const std::vector<ManifestArray>& arrays, std::string_view prefix)
{
    return checksum_of_lines(sorted_lines(arrays, prefix));
}

std::string state_digest_of(const std::vector<ManifestArray>& arrays,
                            const std::vector<std::int64_t>& counters)
{
    std::vector<std::string> lines = sorted_lines(arrays, "/");
    for (std::size_t layer = 0; layer < counters.size(); ++layer)
        lines.push_back("/warmup/counter/" + std::to_string(layer) + " " +
                        std::to_string(counters[layer]) + "\n");
    return checksum_of_lines(lines);
}

} // namespace sluice
