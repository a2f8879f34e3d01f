#include "src/plan/measured_run.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "src/trace/ledger_file.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

namespace sluice {

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t most_file_bytes = std::uint64_t{1} << 28; // of 1,000s of ranks

[[noreturn]] void refuse(const std::string& problem, const std::filesystem::path& path)
{
    throw data_error("this is not a ledger: " + problem, path.string(),
                     "trace the run again: sluice train RUN.toml --set trace.updates=10-12");
}

/// What reading throws inside this file beside what the library does.
struct Malformed {
    std::string problem;
};

/// A number that `Integer` holds: the library turns others, and those with more digits than 64 bits
/// have, into whatever comes.
template <class Integer>
Integer whole(const Json& object, const char* key)
{
    const Json& value = object.at(key);
    const bool fits =
        value.is_number_unsigned()
            ? std::in_range<Integer>(value.get<std::uint64_t>())
            : value.is_number_integer() && std::in_range<Integer>(value.get<std::int64_t>());
    if (!fits)
        throw Malformed{fmt::format("\"{}\" is not a possible number", key)};
    return value.get<Integer>();
}

MeasuredRank rank_from(const Json& nanoseconds)
{
    const auto seconds = [&](const char* part) {
        return nanoseconds.at(part).get<double>() * 1e-9;
    };
    return {.update = seconds("update"),
            .compute = seconds("compute"),
            .fill_drain = seconds("fill_drain"),
            .imbalance = seconds("imbalance"),
            .exposed_transfer = seconds("exposed_transfer"),
            .barrier = seconds("barrier"),
            .jitter = seconds("jitter"),
            .data = seconds("data"),
            .optimizer = seconds("optimizer"),
            .other = seconds("other")};
}

MeasuredWork work_from(const Json& chunk)
{
    const Json& measured = chunk.at("measured_seconds");
    const auto seconds = [&](const char* part) -> std::optional<double> {
        const Json& value = measured.at(part);
        return value.is_null() ? std::nullopt : std::optional(value.get<double>());
    };
    const Json& replayed = chunk.at("replayed_seconds");
    return {.rank = whole<std::int32_t>(chunk, "rank"),
            .first_layer = whole<std::int64_t>(chunk, "first_layer"),
            .num_layers = whole<std::int64_t>(chunk, "num_layers"),
            .forward = seconds("forward"),
            .backward = seconds("backward"),
            .backward_input = seconds("backward_input"),
            .backward_weight = seconds("backward_weight"),
            .transfer = seconds("transfer"),
            .replayed = {.forward = replayed.at("forward").get<double>(),
                         .backward_input = replayed.at("backward_input").get<double>(),
                         .backward_weight = replayed.at("backward_weight").get<double>(),
                         .transfer = replayed.value("transfer", Json()).is_number()
                                         ? replayed.at("transfer").get<double>()
                                         : 0.0}};
}

MeasuredRun run_from(const Json& json, const std::filesystem::path& run_dir)
{
    MeasuredRun run;
    run.where = fmt::format("updates {}-{} of {}", whole<std::int64_t>(json, "first_update"),
                            whole<std::int64_t>(json, "last_update"), run_dir.string());
    run.schedule = json.at("schedule").get<std::string>();
    run.num_replicas = whole<std::int32_t>(json, "replicas");
    run.num_microbatches = whole<std::int32_t>(json, "num_microbatches");
    run.micro_batch_size = whole<std::int64_t>(json, "micro_batch_size");
    run.seq_len = whole<std::int64_t>(json, "seq_len");
    run.barrier_seconds = json.at("barrier_seconds").get<double>();
    for (const Json& chunk : json.at("chunks"))
        run.chunks.push_back(work_from(chunk));
    for (const Json& rank : json.at("mean"))
        run.ranks.push_back(rank_from(rank.at("nanoseconds")));
    return run;
}

/// Causes of waiting are differences and may be negative; work may not.
void check_times(const MeasuredRun& run, const std::filesystem::path& path)
{
    for (std::size_t rank = 0; rank < run.ranks.size(); ++rank) {
        const MeasuredRank& each = run.ranks[rank];
        if (!(each.update > 0.0))
            refuse(fmt::format("the mean update of rank {} takes {:g} s", rank, each.update), path);
        if (std::min({each.compute, each.data, each.optimizer, each.other}) < 0.0)
            refuse(
                fmt::format("a part of the mean update of rank {} takes less than no time", rank),
                path);
    }
    for (std::size_t chunk = 0; chunk < run.chunks.size(); ++chunk) {
        const MeasuredWork& each = run.chunks[chunk];
        const ChunkCosts& replayed = each.replayed;
        if (std::min({replayed.forward, replayed.backward_input, replayed.backward_weight,
                      replayed.transfer, each.forward.value_or(0.0), each.backward.value_or(0.0),
                      each.backward_input.value_or(0.0), each.backward_weight.value_or(0.0)}) < 0.0)
            refuse(fmt::format("work of chunk {} takes less than no time", chunk), path);
    }
    if (run.barrier_seconds < 0.0)
        refuse("the barrier takes less than no time", path);
}

} // namespace

MeasuredRun read_measured_run(const std::filesystem::path& run_dir)
{
    const std::filesystem::path path = run_dir / "trace" / "ledger.json";
    if (!std::filesystem::exists(path))
        throw data_error("there is no trace of this run", path.string(),
                         "trace some updates: sluice train RUN.toml --set trace.updates=10-12");
    try {
        const Json json = Json::parse(read_file(path, most_file_bytes));
        if (const auto format = json.at("format").get<std::string>(); format != ledger_format)
            throw data_error("the format is '" + format + "', not '" + std::string(ledger_format) +
                                 "'",
                             path.string(), "trace the run again with this version");
        MeasuredRun run = run_from(json, run_dir);
        check_times(run, path);
        return run;
    } catch (const nlohmann::json::exception& error) {
        refuse(error.what(), path);
    } catch (const Malformed& malformed) {
        refuse(malformed.problem, path);
    }
}

} // namespace sluice
