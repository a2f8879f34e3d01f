// Proves a schedule before anything runs.
//
// Slots. Micro-batch m of a chunk uses activation slot m mod peak_live_microbatches and gradient
// slot m mod peak_live_gradients; both are free when it needs them, because
// - an activation slot is taken from the moment its receive is POSTED (or, without a receive, from
//   the forward) to the end of the weight gradient;
// - a gradient slot holds the gradient that comes in and the one that goes out. The incoming one is
//   taken from the moment its receive is posted (or from the start of the input gradient) to the
//   end of the weight gradient. The outgoing one is taken from the start of the input gradient to
//   the latest of: the end of the weight gradient; the previous chunk's start of its input
//   gradient, where that chunk is on the same rank and copies it; the moment its send completes,
//   where it travels.
// A send completes when its receive is posted (nothing is buffered on the way). When that is
// follows from a timeline in which forward, input gradient and weight gradient take one unit each
// and transfers none. Where real times differ, the executor waits for the send of micro-batch m -
// peak before it overwrites its buffer: that may cost time but cannot deadlock, since the timeline
// is an execution in which nobody waits for a buffer.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <string>
#include <vector>

namespace sluice {

/// How messages match: by tag in any order (MPI), or strictly in order per edge and direction
/// (NCCL).
enum class MatchingRule : std::uint8_t { by_tag, in_order };

struct ScheduleReport {
    /// Empty when the schedule is good; otherwise every problem found, each naming rank, position
    /// (from 0) and action. Beyond 1,000 only their number is told.
    std::vector<std::string> problems;
    /// Per chunk: slots for the activations of micro-batches that are alive at once, and for
    /// gradients between chunks (at least 1). Empty unless the schedule is good.
    std::vector<std::int32_t> peak_live_microbatches;
    std::vector<std::int32_t> peak_live_gradients;
    bool good() const { return problems.empty(); }
};

/// Checks that every micro-batch gets its forward, input gradient and weight gradient exactly once
/// on every chunk, each kind in micro-batch order (which is what keeps bits equal); that every rank
/// ends with its one optimizer step; that every message has its partner, is sent behind what
/// produces it and posted before what needs it; that the program finishes when no message is
/// buffered, under `sends`; and measures peak memory. Works on schedules with or without
/// communication actions. Linear in the number of actions. Whether it finishes is examined only
/// when nothing else is wrong.
ScheduleReport check_schedule(const Schedule& schedule, MatchingRule rule = MatchingRule::by_tag,
                              SendRule sends = SendRule::non_blocking);

} // namespace sluice
