// A timeline as text: one line per rank, time from left to right.
//
//     rank 0 |F0F1F2F3................B0--F4B1--F5B2--
//     rank 1 |..F0F1F2............B0--F3..B1--F4..B2--
//
// F forward, B whole backward, I input gradient, W weight gradient; `.` idle. Where every action
// has room for it, its micro-batch number follows. The chunks of a rank alternate between upper and
// lower case.
#pragma once

#include "pipeline/simulator.hpp"

#include <cstdint>
#include <string>

namespace sluice {

struct TimelineTextOptions {
    std::int32_t columns = 80; ///< of the terminal, the rank's name included
    /// Of several ranks' lines, evenly spaced ones are shown; the text says so.
    std::int32_t most_lines = 32;
};

/// `simulation`: of `schedule`, each action's times kept; simulated or measured. What is shorter
/// than a column appears as often as its share of the time.
std::string timeline_text(const Schedule& schedule, const Simulation& simulation,
                          const TimelineTextOptions& options = {});

} // namespace sluice
