#include "src/plan/measured_run.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

using Json = nlohmann::json;

constexpr std::string_view format_name = "sluice-ledger-1";

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
    return {.rank = chunk.at("rank").get<std::int32_t>(),
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
    run.where = fmt::format("updates {}-{} of {}", json.at("first_update").get<std::int64_t>(),
                            json.at("last_update").get<std::int64_t>(), run_dir.string());
    run.schedule = json.at("schedule").get<std::string>();
    run.num_microbatches = json.at("num_microbatches").get<std::int32_t>();
    run.micro_batch_size = json.at("micro_batch_size").get<std::int64_t>();
    run.seq_len = json.at("seq_len").get<std::int64_t>();
    run.barrier_seconds = json.at("barrier_seconds").get<double>();
    for (const Json& chunk : json.at("chunks"))
        run.chunks.push_back(work_from(chunk));
    for (const Json& rank : json.at("mean"))
        run.ranks.push_back(rank_from(rank.at("nanoseconds")));
    return run;
}

} // namespace

MeasuredRun read_measured_run(const std::filesystem::path& run_dir)
{
    const std::filesystem::path path = run_dir / "trace" / "ledger.json";
    if (!std::filesystem::exists(path))
        throw data_error("there is no trace of this run", path.string(),
                         "trace some updates: sluice train RUN.toml --set trace.updates=10-12");
    try {
        const Json json = Json::parse(read_file(path));
        if (const auto format = json.at("format").get<std::string>(); format != format_name)
            throw data_error("the format is '" + format + "', not '" + std::string(format_name) +
                                 "'",
                             path.string(), "trace the run again with this version");
        return run_from(json, run_dir);
    } catch (const nlohmann::json::exception& error) {
        throw data_error("this is not a ledger: " + std::string(error.what()), path.string(),
                         "trace the run again: sluice train RUN.toml --set trace.updates=10-12");
    }
}

} // namespace sluice
