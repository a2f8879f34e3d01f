#include "src/trace/ledger_file.hpp"

#include "core/durable_file.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::ordered_json;

namespace {

Json seconds_or_null(const std::optional<double>& seconds)
{
    return seconds ? Json(*seconds) : Json(nullptr);
}

Json json_of(const UpdateSplit& split)
{
    Json json;
    for (const SplitPart& part : split_parts)
        json[std::string(part.name)] = split.*part.nanoseconds;
    return json;
}

Json json_of(const MeasuredChunk& measured, const TracedRun& run, std::size_t chunk)
{
    const LayerRange& range = run.partition[chunk];
    return {{"chunk", chunk},
            {"rank", run.program.rank_of_chunk[chunk]},
            {"first_layer", range.begin},
            {"num_layers", range.num_layers()},
            {"embedding", range.embedding},
            {"head", range.head},
            {"planned_layers", cost_of(range, run.planned) / run.planned.decoder_layer},
            {"measured_seconds",
             {{"forward", seconds_or_null(measured.forward)},
              {"backward", seconds_or_null(measured.backward)},
              {"backward_input", seconds_or_null(measured.backward_input)},
              {"backward_weight", seconds_or_null(measured.backward_weight)},
              {"transfer", seconds_or_null(measured.transfer)}}},
            {"replayed_seconds",
             {{"forward", measured.replayed.forward},
              {"backward_input", measured.replayed.backward_input},
              {"backward_weight", measured.replayed.backward_weight},
              {"transfer", measured.replayed.transfer}}}};
}

Json ranks_of(const std::vector<UpdateSplit>& splits)
{
    Json ranks = Json::array();
    for (std::size_t rank = 0; rank < splits.size(); ++rank)
        ranks.push_back({{"rank", rank}, {"nanoseconds", json_of(splits[rank])}});
    return ranks;
}

} // namespace

std::string text_of(const LayerRange& range)
{
    std::string text = range.embedding ? "embedding, " : "";
    if (range.num_layers() > 0)
        text += range.num_layers() == 1 ? fmt::format("layer {}", range.begin)
                                        : fmt::format("layers {}..{}", range.begin, range.end - 1);
    if (range.head)
        text += range.num_layers() > 0 ? ", head" : "head";
    return text;
}

void write_ledger(const std::filesystem::path& path, const Ledger& ledger, const TracedRun& run,
                  const std::string& trace_name, std::int64_t clock_uncertainty_ns)
{
    Json updates = Json::array(), chunks = Json::array();
    for (const TracedUpdate& update : ledger.updates)
        updates.push_back({{"update", update.update}, {"ranks", ranks_of(update.ranks)}});
    for (std::size_t chunk = 0; chunk < ledger.chunks.size(); ++chunk)
        chunks.push_back(json_of(ledger.chunks[chunk], run, chunk));
    const Json json = {{"format", ledger_format},
                       {"trace", trace_name},
                       {"first_update", ledger.updates.front().update},
                       {"last_update", ledger.updates.back().update},
                       {"schedule", run.schedule_name},
                       {"num_ranks", run.num_ranks()},
                       {"replicas", run.num_replicas},
                       {"num_chunks", run.program.num_chunks},
                       {"num_microbatches", run.program.num_microbatches},
                       {"micro_batch_size", run.micro_batch_size},
                       {"seq_len", run.seq_len},
                       {"clock_uncertainty_nanoseconds", clock_uncertainty_ns},
                       {"barrier_seconds", ledger.barrier_seconds},
                       {"chunks", chunks},
                       {"mean", ranks_of(ledger.mean())},
                       {"updates", updates}};
    write_file_durably(path, json.dump(1) + "\n");
}

std::vector<std::string> table_of(const Ledger& ledger, std::size_t most_ranks)
{
    const auto means = ledger.mean();
    UpdateSplit total;
    std::int64_t longest = 0;
    for (const UpdateSplit& rank : means) {
        longest = std::max(longest, rank.update);
        for (const SplitPart& part : split_parts)
            total.*part.nanoseconds += rank.*part.nanoseconds;
    }
    // "[sluice] " stands in front of each line of the log.
    const int decimals = longest < 20'000'000 ? 2 : longest < 500'000'000 ? 1 : 0;
    const auto line = [&](const std::string& first, const auto& text_of_part) {
        std::string text = fmt::format("{:<4}", first);
        for (const SplitPart& part : split_parts)
            text += fmt::format(" {:>{}}", text_of_part(part),
                                std::max<std::size_t>(5, part.column.size()));
        return text;
    };
    std::vector<std::string> lines{
        line("rank", [](const SplitPart& part) { return std::string(part.column); })};
    for (std::size_t rank = 0; rank < std::min(most_ranks, means.size()); ++rank)
        lines.push_back(line(std::to_string(rank), [&](const SplitPart& part) {
            return fmt::format("{:.{}f}", 1e-6 * static_cast<double>(means[rank].*part.nanoseconds),
                               decimals);
        }));
    if (means.size() > most_ranks)
        lines.push_back(fmt::format("... and {} more ranks", means.size() - most_ranks));
    lines.push_back(line("all", [&](const SplitPart& part) {
        return fmt::format("{:.1f}%", 100.0 * static_cast<double>(total.*part.nanoseconds) /
                                          static_cast<double>(total.update));
    }));
    return lines;
}

} // namespace sluice
