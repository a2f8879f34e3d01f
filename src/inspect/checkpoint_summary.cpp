#include "src/inspect/checkpoint_summary.hpp"

#include "core/error.hpp"

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <iostream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace sluice {

namespace {

struct TensorSummary {
    std::string path;
    std::string shape;
    double norm = 0.0, rms = 0.0;
};

/// Squared norms of one layer's (or the embedding's, the head's) tensors.
struct RowSummary {
    std::string name;
    std::int64_t num_parameters = 0;
    double weights = 0.0, first_moments = 0.0, second_moments = 0.0;
};

/// "/parameters/model/layers/7/..." -> 7; nothing for embedding, final norm and head.
std::optional<std::int64_t> layer_in(std::string_view path)
{
    const auto at = path.find("/layers/");
    if (at == std::string_view::npos)
        return std::nullopt;
    std::int64_t layer = 0;
    const char* begin = path.data() + at + 8;
    if (std::from_chars(begin, path.data() + path.size(), layer).ec != std::errc())
        return std::nullopt;
    return layer;
}

/// Rows in the order embedding, layers, final norm and head.
std::pair<std::int64_t, std::string> row_of(std::string_view path)
{
    if (const auto layer = layer_in(path))
        return {*layer, "layer " + std::to_string(*layer)};
    if (path.find("embed_tokens") != std::string_view::npos)
        return {-1, "embedding"};
    return {std::numeric_limits<std::int64_t>::max(), "norm, head"};
}

struct Summary {
    std::map<std::int64_t, RowSummary> rows;
    std::vector<TensorSummary> tensors;
    std::int64_t num_parameters = 0;
};

Summary summarize(const CheckpointReader& reader)
{
    Summary summary;
    for (const auto& info : reader.arrays()) {
        const double norm = norm_of(read_array(reader, info), info.dtype);
        const auto count = info.shape.num_elements();
        summary.tensors.push_back(
            {info.path, info.shape.text(), norm,
             norm / std::sqrt(static_cast<double>(std::max<std::int64_t>(1, count)))});
        auto [key, name] = row_of(info.path);
        RowSummary& row = summary.rows[key];
        row.name = name;
        if (info.path.starts_with("/parameters/")) {
            row.weights += norm * norm;
            row.num_parameters += count;
            summary.num_parameters += count;
        } else if (info.path.starts_with("/optimizer/first_moment/")) {
            row.first_moments += norm * norm;
        } else {
            row.second_moments += norm * norm;
        }
    }
    return summary;
}

void print_json(const CheckpointReader& reader, const Summary& summary)
{
    const CheckpointProgress& progress = reader.progress();
    nlohmann::ordered_json json{{"checkpoint", reader.path().string()},
                                {"update", progress.update},
                                {"samples", progress.samples},
                                {"tokens", progress.tokens},
                                {"seed", progress.seed},
                                {"num_stages", reader.num_stages()},
                                {"num_parameters", summary.num_parameters},
                                {"parameters_digest", reader.parameters_digest()},
                                {"created_at", reader.created_at()},
                                {"program", progress.program},
                                {"arithmetic", progress.arithmetic},
                                {"alpha", reader.warmup().alphas},
                                {"counter", reader.warmup().counters}};
    if (progress.num_rewinds > 0) {
        json["num_rewinds"] = progress.num_rewinds;
        json["skipped_batches"] = progress.skipped.flat();
    }
    for (const TensorSummary& tensor : summary.tensors)
        json["tensors"].push_back({{"path", tensor.path},
                                   {"shape", tensor.shape},
                                   {"norm", tensor.norm},
                                   {"rms", tensor.rms}});
    std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

} // namespace

std::vector<std::byte> read_array(const CheckpointReader& reader,
                                  const CheckpointReader::ArrayInfo& info)
{
    std::vector<std::byte> bytes(static_cast<std::size_t>(info.shape.num_elements()) *
                                 size_of(info.dtype));
    reader.read(info.path, {bytes.data(), info.dtype, info.shape, Device{}});
    return bytes;
}

double norm_of(const std::vector<std::byte>& bytes, DType dtype)
{
    double sum = 0.0;
    const auto add = [&]<class T>(const T* values, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    };
    if (dtype == DType::f32)
        add(reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float));
    else if (dtype == DType::f64)
        add(reinterpret_cast<const double*>(bytes.data()), bytes.size() / sizeof(double));
    return std::sqrt(sum);
}

void print_summary(const CheckpointReader& reader, bool json, bool list_tensors)
{
    const Summary summary = summarize(reader);
    if (json) {
        print_json(reader, summary);
        return;
    }
    const CheckpointProgress& progress = reader.progress();
    fmt::print("{}\n", reader.path().string());
    fmt::print("  update {}   samples {}   tokens {}   seed {}\n", progress.update,
               progress.samples, progress.tokens, progress.seed);
    if (progress.num_rewinds > 0)
        fmt::print("  went back {} time(s), skipping batches {}\n", progress.num_rewinds,
                   progress.skipped.text());
    fmt::print("  {} parameters; {} tensors with the moments, saved by {} stage(s)\n",
               summary.num_parameters, reader.arrays().size(), reader.num_stages());
    if (!progress.program.empty())
        fmt::print("  written by {} at {}\n", progress.program, reader.created_at());
    if (!progress.arithmetic.empty())
        fmt::print("  computed by {}\n", progress.arithmetic);
    fmt::print("  parameters digest {}\n\n", reader.parameters_digest());
    fmt::print("  {:<12} {:>11} {:>8} {:>8} {:>12} {:>12} {:>12}\n", "", "parameters", "gate",
               "counter", "weight norm", "1st moment", "2nd moment");
    const WarmupState& gates = reader.warmup();
    for (const auto& [key, row] : summary.rows) {
        const bool gated = key >= 0 && key < static_cast<std::int64_t>(gates.alphas.size());
        const auto layer = static_cast<std::size_t>(gated ? key : 0);
        fmt::print("  {:<12} {:>11} {:>8} {:>8} {:>12.5g} {:>12.5g} {:>12.5g}\n", row.name,
                   row.num_parameters, gated ? fmt::format("{:.4f}", gates.alphas[layer]) : "",
                   gated ? fmt::format("{}", gates.counters[layer]) : "", std::sqrt(row.weights),
                   std::sqrt(row.first_moments), std::sqrt(row.second_moments));
    }
    if (!list_tensors)
        return;
    fmt::print("\n  {:<68} {:>14} {:>12} {:>12}\n", "tensor", "shape", "norm", "rms");
    for (const TensorSummary& tensor : summary.tensors)
        fmt::print("  {:<68} {:>14} {:>12.5g} {:>12.5g}\n", tensor.path, tensor.shape, tensor.norm,
                   tensor.rms);
}

} // namespace sluice
