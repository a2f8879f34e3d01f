// Proves a schedule before anything runs.
#pragma once

#include "pipeline/schedule/schedule.hpp"

#include <string>
#include <vector>

namespace sluice {

/// How messages match: by tag in any order (MPI), or strictly in order per edge and direction
/// (NCCL).
enum class MatchingRule : std::uint8_t { by_tag, in_order };

struct ScheduleReport {
    /// Empty when the schedule is good; otherwise every problem found, each naming rank, position
    /// and action.
    std::vector<std::string> problems;
    /// Per chunk: largest number of micro-batches whose activations are alive at once, from forward
    /// to the end of the weight gradient; and of gradients between chunks alive at once.
    std::vector<std::int32_t> peak_live_microbatches;
    std::vector<std::int32_t> peak_live_gradients;
    bool good() const { return problems.empty(); }
};

/// Checks that every micro-batch gets its forward, input gradient and weight gradient exactly once
/// on every chunk, each kind in micro-batch order (which is what keeps bits equal); that every
/// message has its partner; that the program finishes when every send may block until its receive
/// is posted; and measures peak memory. Works on schedules with or without communication actions.
ScheduleReport check_schedule(const Schedule& schedule, MatchingRule rule = MatchingRule::by_tag);

} // namespace sluice
