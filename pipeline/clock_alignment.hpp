// How far two clocks are apart, from questions that go to one and come back: messages to another
// rank, marks in a GPU's stream.
//
// Rank 0 sends at s (its clock), the other rank answers at a (its own), the answer is back at r.
// The answer was given between s and r, so the midpoint is wrong by at most (r - s) / 2: of many
// round trips the shortest says most. Measured before and behind a stretch of updates, and
// interpolated between, it follows clocks that drift apart.
#pragma once

#include "pipeline/steady_clock.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

class Transport;

struct RoundTrip {
    std::int64_t sent_ns = 0;     ///< on the reference clock, which asks
    std::int64_t answered_ns = 0; ///< on the other clock
    std::int64_t returned_ns = 0; ///< on the reference clock
};

/// What to add to the other clock to have the reference clock, at one moment.
struct ClockOffset {
    std::int64_t at_ns = 0; ///< on the other clock
    std::int64_t offset_ns = 0;
    std::int64_t uncertainty_ns = 0; ///< the offset is wrong by at most this
};

/// From the shortest of `trips` (at least one).
ClockOffset estimate_offset(std::span<const RoundTrip> trips);

struct ClockAlignment {
    ClockOffset begin, end;

    /// What the reference clock shows when the other shows `other_ns`: linear through both offsets.
    std::int64_t to_reference(std::int64_t other_ns) const;
    /// Of any time between the two measurements, while the clocks drift evenly.
    std::int64_t uncertainty_ns() const;
};

/// Collective, with no message under way. Rank 0's clock is the reference: one offset per rank on
/// rank 0, its own zero; nothing on others.
std::vector<ClockOffset> measure_offsets(Transport& transport,
                                         std::int64_t (*now)() = steady_now_ns,
                                         int num_round_trips = 64);

} // namespace sluice
