#include "src/trace/run_tracer.hpp"

#include "core/error.hpp"
#include "pipeline/agreement.hpp"
#include "src/trace/ledger_file.hpp"
#include "src/trace/trace_events.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::ordered_json;

namespace {

std::int64_t longest_stretch(const std::vector<UpdateRange>& ranges)
{
    std::int64_t longest = 0;
    for (const UpdateRange& range : ranges)
        longest = std::max(longest, range.num_updates());
    return longest;
}

/// With what lies between it and the next one.
std::size_t spans_of_update(const TracedRun& run)
{
    return static_cast<std::size_t>(trace_size(run).spans_per_update + 16);
}

/// Spans to reserve; refuses what no viewer could open.
std::size_t spans_for(const TracedRun& run, const std::vector<UpdateRange>& ranges)
{
    const TraceSize size = trace_size(run);
    const std::int64_t most_updates = most_trace_events / size.events_per_update;
    for (const UpdateRange& range : ranges)
        if (range.num_updates() > most_updates)
            throw usage_error(
                fmt::format("a trace of updates {}-{} would hold about {:.1f} million events, {} "
                            "per update; {} million is the most",
                            range.first, range.last,
                            1e-6 * static_cast<double>(range.num_updates()) *
                                static_cast<double>(size.events_per_update),
                            size.events_per_update, most_trace_events / 1'000'000),
                "trace.updates",
                most_updates == 0
                    ? "this layout has too many actions per update to be traced"
                    : fmt::format("trace at most {} updates in a row, like \"{}-{}\"", most_updates,
                                  range.first, range.first + most_updates - 1));
    return static_cast<std::size_t>(longest_stretch(ranges)) * spans_of_update(run) + 16;
}

/// `of`: what keeps the times.
Json clocks_of(const std::vector<RankTimeline>& timelines, const char* of)
{
    Json clocks = Json::array();
    for (std::size_t rank = 0; rank < timelines.size(); ++rank) {
        const ClockAlignment& clock = timelines[rank].clock;
        clocks.push_back({{"rank", rank},
                          {"of", of},
                          {"offset_begin_nanoseconds", clock.begin.offset_ns},
                          {"offset_end_nanoseconds", clock.end.offset_ns},
                          {"uncertainty_nanoseconds", timelines[rank].uncertainty_ns()}});
    }
    return clocks;
}

std::int64_t uncertainty_of(const std::vector<RankTimeline>& timelines)
{
    std::int64_t largest = 0;
    for (const RankTimeline& timeline : timelines)
        largest = std::max(largest, timeline.uncertainty_ns());
    return largest;
}

double seconds_since(std::int64_t start_ns)
{
    return 1e-9 * static_cast<double>(steady_now_ns() - start_ns);
}

} // namespace

RunTracer::RunTracer(const TracedRun& run, std::vector<UpdateRange> ranges,
                     std::filesystem::path folder, const Stream& stream)
    : run_(run), ranges_(std::move(ranges)), folder_(std::move(folder)),
      recorder_(spans_for(run_, ranges_), stream, spans_of_update(run_))
{
}

void RunTracer::before_update(Transport& transport, std::int64_t update)
{
    const bool traced = std::any_of(ranges_.begin(), ranges_.end(), [&](const UpdateRange& range) {
        return update >= range.first && update <= range.last;
    });
    if (!traced || active_)
        return;
    begin_ = measure_offsets(transport);
    active_ = true;
    recorder_.start();
}

std::optional<WrittenTrace> RunTracer::after_update(Transport& transport, std::int64_t update,
                                                    bool last)
{
    const bool over = std::any_of(ranges_.begin(), ranges_.end(),
                                  [&](const UpdateRange& range) { return update == range.last; });
    if (!active_ || !(over || last))
        return std::nullopt;
    const std::int64_t start = steady_now_ns();
    recorder_.stop();
    active_ = false;
    const auto end = measure_offsets(transport);
    const auto timelines = gather_timelines(transport, recorder_, begin_, end);
    std::optional<WrittenTrace> written;
    on_rank_zero(transport, [&] {
        written = write(timelines);
        written->seconds = seconds_since(start);
    });
    return written;
}

WrittenTrace RunTracer::write(const std::vector<RankTimeline>& timelines) const
{
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error)
        throw data_error("cannot create the folder of traces: " + error.message(), folder_.string(),
                         "make room, or run without trace.updates");
    const Ledger ledger = make_ledger(run_.program, timelines);
    WrittenTrace written;
    written.first_update = ledger.updates.front().update;
    written.last_update = ledger.updates.back().update;
    const std::string stem =
        fmt::format("update-{:06}-{:06}", written.first_update, written.last_update);
    written.trace = folder_ / (stem + ".json");
    written.ledger = folder_ / (stem + ".ledger.json");
    written.clock_uncertainty_ns = uncertainty_of(timelines);
    make_trace(run_, timelines)
        .write(written.trace,
               {{"format", "sluice-trace-1"},
                {"schedule", run_.schedule_name},
                {"first_update", written.first_update},
                {"last_update", written.last_update},
                {"num_ranks", run_.num_ranks()},
                {"replicas", run_.num_replicas},
                {"num_chunks", run_.program.num_chunks},
                {"num_microbatches", run_.program.num_microbatches},
                {"clock_uncertainty_nanoseconds", written.clock_uncertainty_ns},
                {"clocks", clocks_of(timelines, recorder_.follows_stream() ? "gpu" : "host")}});
    for (const auto& path : {written.ledger, folder_ / "ledger.json"})
        write_ledger(path, ledger, run_, written.trace.filename().string(),
                     written.clock_uncertainty_ns);
    written.table = table_of(ledger);
    return written;
}

} // namespace sluice
