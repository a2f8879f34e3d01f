// Who waits for whom, and who is to blame: from what is known of every rank, without clocks,
// threads or sockets.
#pragma once

#include "pipeline/rank_activity.hpp"
#include "src/watch/hang_bounds.hpp"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// What one rank knows of another, or of itself.
struct RankView {
    bool known = false;             ///< it has been heard
    bool dead = false;              ///< its process has ended
    double silent_seconds = 0.0;    ///< since it was last heard
    double unchanged_seconds = 0.0; ///< that its main thread had been on one spot when last heard
    RankState state;

    /// The main thread may have moved since, but nobody would know.
    double standing_seconds() const { return unchanged_seconds + silent_seconds; }
};

struct Stall {
    enum class Kind : std::uint8_t {
        silent,    ///< the culprits' heartbeats stopped
        stuck,     ///< the culprits' main threads stand still, waiting for nobody
        circle,    ///< the culprits wait for each other
        incomplete ///< ranks are in a collective that all came to, and that does not end
    };
    Kind kind = Kind::silent;
    std::vector<int> culprits; ///< ranks, ascending; in the order of waiting for a circle
};

/// A stall, as rank `here` sees it, or nothing. In this order: ranks that have been silent too long
/// while `here` stands still as well (a heartbeat lost on a network that training does not use ends
/// no run); known ranks on one spot beyond their phase's bound that wait for nobody; and, where
/// all ranks are known, wait, and stand still beyond their bounds, a circle; or those in it whose
/// waiting is only presumed (RankState).
std::optional<Stall> find_stall(std::span<const RankView> ranks, const HangBounds& bounds,
                                int here);

/// The first rank that `rank` waits for, or -1. In a collective those are the ranks that have not
/// come to it yet.
int waits_for(std::span<const RankView> ranks, int rank);

/// Empty where there is nothing to do but to start again.
std::string what_to_do(const Stall& stall, std::span<const RankView> ranks);

/// "update 5, stage 1, micro-batch 3, action 1F3".
std::string where(const RankState& state);

/// One line on the culprits, then one for each other known rank, those that wait for a culprit
/// first, at most `most_lines` of them. `names`: what to call each rank, [rank].
std::vector<std::string> describe(const Stall& stall, std::span<const RankView> ranks,
                                  std::span<const std::string> names, int most_lines = 8);

} // namespace sluice
