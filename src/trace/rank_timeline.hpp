// What every rank recorded, together on rank 0 and on rank 0's clock.
#pragma once

#include "pipeline/action_recorder.hpp"
#include "pipeline/clock_alignment.hpp"
#include "pipeline/transport/transport.hpp"

#include <vector>

namespace sluice {

/// One rank's spans; times on rank 0's clock. The last span is empty and ends the one before.
struct RankTimeline {
    std::vector<RecordedUpdate> updates;
    std::vector<ActivitySpan> spans;
    ClockAlignment clock;                   ///< what was added to the rank's own clock
    std::int64_t stream_uncertainty_ns = 0; ///< of a GPU's clock against its rank's

    std::int64_t begin_ns(std::size_t span) const { return spans[span].begin_ns; }
    std::int64_t end_ns(std::size_t span) const { return spans[span + 1].begin_ns; }
    /// How far all of them may be off together.
    std::int64_t uncertainty_ns() const { return clock.uncertainty_ns() + stream_uncertainty_ns; }
};

/// Collective, with no message under way. `begin`, `end`: what measure_offsets() gave before and
/// behind. All ranks' timelines, in rank order, on rank 0; nothing on others.
std::vector<RankTimeline> gather_timelines(Transport& transport, const ActionRecorder& recorder,
                                           const std::vector<ClockOffset>& begin,
                                           const std::vector<ClockOffset>& end);

} // namespace sluice
