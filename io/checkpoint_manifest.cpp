#include "io/checkpoint_manifest.hpp"

#include "core/checksum.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

/// For writing. Not for reading: every key it adds is searched for among all before.
using OrderedJson = nlohmann::ordered_json;
using Json = nlohmann::json;

constexpr std::string_view format_name = "sluice-checkpoint";
constexpr std::size_t checksum_digits = 32;
constexpr std::uint64_t max_number = std::uint64_t{1} << 62;

/// What parsing throws inside this file; callers see a UserError that names the file.
struct Malformed {
    std::string problem;
};

const Json& member(const Json& object, const char* key)
{
    if (!object.is_object() || !object.contains(key))
        throw Malformed{std::string("lacks \"") + key + "\""};
    return object[key];
}

std::uint64_t natural(const Json& object, const char* key, std::uint64_t at_most = max_number)
{
    const Json& value = member(object, key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > at_most)
        throw Malformed{std::string("\"") + key + "\" is not a possible number"};
    return value.get<std::uint64_t>();
}

std::string text(const Json& object, const char* key)
{
    const Json& value = member(object, key);
    if (!value.is_string())
        throw Malformed{std::string("\"") + key + "\" is not a text"};
    return value.get<std::string>();
}

const Json& list(const Json& object, const char* key)
{
    const Json& value = member(object, key);
    if (!value.is_array())
        throw Malformed{std::string("\"") + key + "\" is not a list"};
    return value;
}

/// Anything else the library would turn into whatever comes.
std::vector<std::int64_t> naturals(const Json& object, const char* key)
{
    std::vector<std::int64_t> values;
    for (const Json& value : list(object, key)) {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max_number)
            throw Malformed{std::string("\"") + key + "\" lists what is not a possible number"};
        values.push_back(value.get<std::int64_t>());
    }
    return values;
}

std::string checksum(const Json& object, const char* key)
{
    std::string value = text(object, key);
    if (value.size() != checksum_digits ||
        value.find_first_not_of("0123456789abcdef") != std::string::npos)
        throw Malformed{std::string("\"") + key + "\" is not a checksum of 32 digits"};
    return value;
}

DType dtype_named(const std::string& name)
{
    for (const DType dtype : {DType::f32, DType::f64, DType::i32})
        if (name == name_of(dtype))
            return dtype;
    throw Malformed{"unknown element type \"" + name + "\""};
}

Shape shape_from(const Json& extents)
{
    std::vector<std::uint64_t> sizes;
    for (const Json& extent : extents) {
        if (!extent.is_number_unsigned())
            throw Malformed{"a shape is not possible"};
        sizes.push_back(extent.get<std::uint64_t>());
    }
    const auto shape = possible_shape(sizes);
    if (!shape)
        throw Malformed{"a shape is not possible"};
    return *shape;
}

OrderedJson json_of(const ManifestArray& array)
{
    OrderedJson shape = OrderedJson::array();
    for (int axis = 0; axis < array.info.shape.rank(); ++axis)
        shape.push_back(static_cast<std::uint64_t>(array.info.shape[axis]));
    return {{"path", array.info.path},     {"dtype", name_of(array.info.dtype)},
            {"shape", std::move(shape)},   {"stage", array.info.stage},
            {"offset", array.file_offset}, {"checksum", array.info.checksum}};
}

ManifestArray array_from(const Json& json)
{
    ManifestArray array;
    array.info.path = text(json, "path");
    if (!is_tensor_path(array.info.path))
        throw Malformed{"the path of a tensor is not possible"};
    array.info.dtype = dtype_named(text(json, "dtype"));
    array.info.shape = shape_from(list(json, "shape"));
    array.info.stage =
        static_cast<int>(natural(json, "stage", std::numeric_limits<int>::max() / 2));
    array.file_offset = natural(json, "offset");
    array.info.checksum = checksum(json, "checksum");
    return array;
}

std::vector<ManifestArray> arrays_from(const Json& json)
{
    std::vector<ManifestArray> arrays;
    for (const Json& entry : list(json, "arrays"))
        arrays.push_back(array_from(entry));
    return arrays;
}

std::vector<ManifestEntry> files_from(const Json& json, int num_stages)
{
    std::vector<ManifestEntry> files;
    for (const Json& entry : list(json, "files")) {
        ManifestEntry file{.file = text(entry, "file"),
                           .size_bytes = natural(entry, "size_bytes"),
                           .checksum = checksum(entry, "checksum")};
        if (file.file.find('/') != std::string::npos || file.file == "." || file.file == "..")
            throw Malformed{"names the file " + Json(file.file).dump() +
                            ", which lies outside the checkpoint's folder"};
        const int stage = static_cast<int>(files.size()) - 1;
        const std::string expected =
            stage < 0 ? std::string(index_name) : stage_file_name(stage, num_stages);
        if (file.file != expected)
            throw Malformed{"names the file " + Json(file.file).dump() + " in place of \"" +
                            expected + "\""};
        files.push_back(std::move(file));
    }
    if (files.size() != static_cast<std::size_t>(num_stages) + 1)
        throw Malformed{"lists " + std::to_string(files.size()) + " files for " +
                        std::to_string(num_stages) + " stages"};
    return files;
}

/// `"manifest_checksum": "` as dump() writes it.
const std::string checksum_key = "\"manifest_checksum\": \"";

void check_own_checksum(std::string text, const Json& json)
{
    const std::string stored = checksum(json, "manifest_checksum");
    const std::size_t key = text.find(checksum_key + stored + "\"");
    if (key == std::string::npos)
        throw Malformed{"\"manifest_checksum\" is not where it should be"};
    text.replace(key + checksum_key.size(), checksum_digits, checksum_digits, '0');
    if (checksum_of(std::as_bytes(std::span(text))) != stored)
        throw Malformed{"its text does not have the checksum it names"};
}

Manifest manifest_from(const std::string& text_of_file)
{
    const Json json = Json::parse(text_of_file, nullptr, false);
    if (json.is_discarded())
        throw Malformed{"is not whole JSON"};
    if (text(json, "format") != format_name)
        throw Malformed{"is not the manifest of a checkpoint"};
    const std::uint64_t version = natural(json, "format_version");
    if (version != static_cast<std::uint64_t>(checkpoint_format_version))
        throw Malformed{"has format version " + std::to_string(version) +
                        ", and this program reads version " +
                        std::to_string(checkpoint_format_version)};
    check_own_checksum(text_of_file, json);
    Manifest manifest;
    manifest.update = static_cast<std::int64_t>(natural(json, "update"));
    manifest.num_layers = static_cast<std::int64_t>(natural(json, "num_layers", 1u << 24));
    manifest.created_at = text(json, "created_at");
    manifest.parameters_digest = checksum(json, "parameters_digest");
    manifest.state_digest = checksum(json, "state_digest");
    const auto num_stages = static_cast<int>(natural(json, "num_stages", 1u << 24));
    if (num_stages < 1)
        throw Malformed{"has no stages"};
    manifest.files = files_from(json, num_stages);
    manifest.arrays = arrays_from(json);
    if (std::string problem = problem_with_arrays(manifest); !problem.empty())
        throw Malformed{std::move(problem)};
    return manifest;
}

StageSummary summary_from(const std::string& text_of_file)
{
    const Json json = Json::parse(text_of_file, nullptr, false);
    if (json.is_discarded())
        throw Malformed{"is not whole JSON"};
    StageSummary summary;
    summary.arrays = arrays_from(json);
    for (const Json& entry : list(json, "warmup")) {
        WarmupState state;
        state.first_layer = static_cast<std::int64_t>(natural(entry, "first_layer"));
        state.counters = naturals(entry, "counters");
        state.alphas = list(entry, "alphas").get<std::vector<double>>();
        summary.warmup.push_back(std::move(state));
    }
    const Json& progress = member(json, "progress");
    summary.progress = {.update = static_cast<std::int64_t>(natural(progress, "update")),
                        .samples = static_cast<std::int64_t>(natural(progress, "samples")),
                        .tokens = static_cast<std::int64_t>(natural(progress, "tokens")),
                        .seed = natural(progress, "seed", ~std::uint64_t{0}),
                        .skipped = {naturals(progress, "skipped"), "the summary of a stage"},
                        .num_rewinds = static_cast<std::int64_t>(natural(progress, "num_rewinds")),
                        .recent_losses = list(progress, "recent_losses").get<std::vector<double>>(),
                        .program = text(progress, "program"),
                        .arithmetic = text(progress, "arithmetic")};
    summary.config_toml = text(json, "config");
    return summary;
}

/// Runs a parser; whatever it finds wrong becomes a UserError that names the file.
template <class Parse>
auto parsed(const std::string& text_of_file, const std::string& where, Parse parse)
{
    std::string problem;
    try {
        return parse(text_of_file);
    } catch (const Malformed& malformed) {
        problem = malformed.problem;
    } catch (const nlohmann::json::exception& error) {
        problem = error.what();
    }
    throw data_error("the file is damaged or not ours: " + problem, where,
                     "use another checkpoint; this one cannot be trusted");
}

} // namespace

std::string stage_file_name(int stage, int num_stages)
{
    char name[64];
    std::snprintf(name, sizeof name, "stage-%04d-of-%04d.h5", stage, num_stages);
    return name;
}

std::string manifest_text(const Manifest& manifest)
{
    OrderedJson files = OrderedJson::array();
    for (const ManifestEntry& file : manifest.files)
        files.push_back(
            {{"file", file.file}, {"size_bytes", file.size_bytes}, {"checksum", file.checksum}});
    OrderedJson arrays = OrderedJson::array();
    for (const ManifestArray& array : manifest.arrays)
        arrays.push_back(json_of(array));
    const OrderedJson json = {{"format", format_name},
                              {"format_version", checkpoint_format_version},
                              {"manifest_checksum", std::string(checksum_digits, '0')},
                              {"created_at", manifest.created_at},
                              {"update", manifest.update},
                              {"num_layers", manifest.num_layers},
                              {"num_stages", manifest.num_stages()},
                              {"parameters_digest", manifest.parameters_digest},
                              {"state_digest", manifest.state_digest},
                              {"files", std::move(files)},
                              {"arrays", std::move(arrays)}};
    std::string text = json.dump(1) + "\n";
    const std::string own = checksum_of(std::as_bytes(std::span(text)));
    text.replace(text.find(checksum_key) + checksum_key.size(), checksum_digits, own);
    return text;
}

Manifest parse_manifest(const std::string& text, const std::string& where)
{
    return parsed(text, where, manifest_from);
}

std::string stage_summary_text(const StageSummary& summary)
{
    OrderedJson arrays = OrderedJson::array();
    for (const ManifestArray& array : summary.arrays)
        arrays.push_back(json_of(array));
    OrderedJson warmup = OrderedJson::array();
    for (const WarmupState& state : summary.warmup)
        warmup.push_back({{"first_layer", state.first_layer},
                          {"counters", state.counters},
                          {"alphas", state.alphas}});
    const CheckpointProgress& progress = summary.progress;
    const OrderedJson json = {{"progress",
                               {{"update", progress.update},
                                {"samples", progress.samples},
                                {"tokens", progress.tokens},
                                {"seed", progress.seed},
                                {"skipped", progress.skipped.flat()},
                                {"num_rewinds", progress.num_rewinds},
                                {"recent_losses", progress.recent_losses},
                                {"program", progress.program},
                                {"arithmetic", progress.arithmetic}}},
                              {"config", summary.config_toml},
                              {"warmup", std::move(warmup)},
                              {"arrays", std::move(arrays)}};
    return json.dump();
}

StageSummary parse_stage_summary(const std::string& text, const std::string& where)
{
    return parsed(text, where, summary_from);
}

} // namespace sluice
