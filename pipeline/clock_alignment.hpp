// How far the ranks' clocks are apart, from messages that go to a rank and come back.
//
// Rank 0 sends at s (its clock), the other rank answers at a (its own), the answer is back at r.
// The answer was given between s and r, so the midpoint is wrong by at most (r - s) / 2: of many
// round trips the shortest says most. Measured before and behind a stretch of updates, and
// interpolated between, it follows clocks that drift apart.
#pragma once

#include "pipeline/action_recorder.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

struct RoundTrip {
    std::int64_t sent_ns = 0;     ///< rank 0's clock
    std::int64_t answered_ns = 0; ///< the other rank's
    std::int64_t returned_ns = 0; ///< rank 0's clock
};

/// What to add to a rank's clock to have rank 0's, at one moment.
struct ClockOffset {
    std::int64_t at_ns = 0; ///< on the rank's own clock
    std::int64_t offset_ns = 0;
    std::int64_t uncertainty_ns = 0; ///< the offset is wrong by at most this
};

/// From the shortest of `trips` (at least one).
ClockOffset estimate_offset(std::span<const RoundTrip> trips);

struct ClockAlignment {
    ClockOffset begin, end;

    /// Rank 0's time at this rank's `local_ns`: linear through both offsets.
    std::int64_t to_rank_zero(std::int64_t local_ns) const;
    /// Of any time between the two measurements, while the clocks drift evenly.
    std::int64_t uncertainty_ns() const;
};

/// Collective, with no message under way. One offset per rank on rank 0, its own zero; nothing on
/// others.
std::vector<ClockOffset> measure_offsets(Transport& transport,
                                         ActionRecorder::Now now = steady_now_ns,
                                         int num_round_trips = 64);

} // namespace sluice
