// Proves a schedule before anything runs, and assigns the buffers it needs (slot_table.hpp).
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/schedule/slot_table.hpp"
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
    /// Each rank's slots. Empty unless the schedule is good.
    SlotTable slots;
    bool good() const { return problems.empty(); }
};

/// Checks that every micro-batch gets its forward, input gradient and weight gradient exactly once
/// on every chunk, each kind in micro-batch order (which is what keeps bits equal); that every rank
/// ends with its one optimizer step; that every message has its partner, is sent behind what
/// produces it and posted before what needs it; that the program finishes when no message is
/// buffered; and measures peak memory. Works on schedules with or without
/// communication actions. Linear in the number of actions. Whether it finishes is examined only
/// when nothing else is wrong.
ScheduleReport check_schedule(const Schedule& schedule, MatchingRule rule = MatchingRule::by_tag);

} // namespace sluice
