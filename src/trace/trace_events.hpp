// The ranks' timelines as bars, arrows and curves of a trace file.
#pragma once

#include "io/trace_file.hpp"
#include "src/trace/rank_timeline.hpp"
#include "src/trace/traced_run.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// The most events that one trace may hold: about 400 MB, more than viewers open.
inline constexpr std::int64_t most_trace_events = 3'000'000;

/// An upper bound for what tracing one update takes: events of all ranks, and spans of the rank
/// that records most.
struct TraceSize {
    std::int64_t events_per_update = 0, spans_per_update = 0;
};
TraceSize trace_size(const TracedRun& run);

/// One process per rank with rows for computation, waiting, messages and the update's phases; an
/// arrow per message; a curve of live activations. Time 0 is the earliest begin.
TraceFile make_trace(const TracedRun& run, std::span<const RankTimeline> timelines);

} // namespace sluice
