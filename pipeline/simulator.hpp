// When each action of a schedule would run, given what every chunk's actions take. The planner
// prices schedules with it, and the checker proves with it that a program finishes.
//
// Ranks run their actions in order; messages travel beside the computation. A message starts when
// it is sent AND its receive is posted (nothing is buffered on the way), and arrives `transfer`
// seconds later. Schedules without communication actions send at the end of the producing action
// and count every receive as posted.
#pragma once

#include "pipeline/schedule/schedule.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// Seconds that one micro-batch takes on one chunk.
struct ChunkCosts {
    double forward = 0.0;
    double backward_input = 0.0;
    double backward_weight = 0.0;
    /// One message between this chunk and the next, in either direction; counts only where the two
    /// are on different ranks.
    double transfer = 0.0;
};

/// What an action of this kind computes; 0 where it computes nothing.
double seconds_of(const ChunkCosts& costs, ActionKind kind);

struct ActionTime {
    double start = 0.0; ///< seconds from the update's begin
    double end = 0.0;
};

struct Simulation {
    /// [rank][position], like Schedule::actions; empty when not kept.
    std::vector<std::vector<ActionTime>> times;
    double total = 0.0;             ///< until the last rank is done
    std::vector<double> busy, idle; ///< [rank]; together `total`
};

/// Each action's times take more memory than the schedule; who asks only for totals leaves them.
enum class ActionTimes : bool { kept, left_out };

/// `costs`: one entry per chunk. The schedule must have passed the checker, with its communication
/// actions or without; without, there are half as many actions, and the times are those of receives
/// posted early enough. The optimizer step takes no time and waits for all ranks, as the gradient
/// norm does.
Simulation simulate(const Schedule& schedule, std::span<const ChunkCosts> costs,
                    ActionTimes keep = ActionTimes::kept);

/// The update's time if no rank ever waited and work were spread evenly: all work over all ranks.
/// No schedule and no partition is faster.
double ideal_seconds(const Schedule& schedule, std::span<const ChunkCosts> costs);
/// The same with this spread of work: what the rank with most of it computes. No schedule of these
/// chunks is faster. ideal_seconds over this is the partition's bound on efficiency.
double busiest_rank_seconds(const Schedule& schedule, std::span<const ChunkCosts> costs);

/// A rank that can never go on.
struct StuckRank {
    std::int32_t rank = 0;
    std::size_t position = 0; ///< of the action it cannot run, from 0
    std::string waits_for;    ///< in words
};

using VisitAction = std::function<void(std::int32_t rank, std::size_t position, ActionTime time)>;

/// Calls `visit` for each action once, a rank's actions in order, and returns the ranks that stay
/// stuck: none when the schedule finishes. A rank goes on at once behind a send, as the executor
/// does. Linear in the number of actions. Chunks and
/// micro-batches must be in range.
std::vector<StuckRank> run_timeline(const Schedule& schedule, std::span<const ChunkCosts> costs,
                                    const VisitAction& visit);

/// Whether the schedule has any send or receive.
bool has_communication(const Schedule& schedule);

} // namespace sluice
