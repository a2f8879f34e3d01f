// A timeline as an SVG picture: one row per rank, a bar per action, idle time left as the row's
// pale ground, an axis in seconds below.
//
// Colours tell kinds apart (Okabe and Ito's palette, safe for colour-blind readers), shades the
// chunks of a rank; bars that are wide enough carry their micro-batch's number.
//
// Where bars would be thinner than the eye sees, or ranks more than rows fit, the picture sums up:
// each row stands for a few neighbouring ranks, each step along it for a span of time, and the
// coloured height says which share of that span the ranks spent on which kind of work. Any number
// of ranks and actions stays below a few megabytes.
#pragma once

#include "pipeline/simulator.hpp"

#include <cstdint>
#include <string>

namespace sluice {

struct TimelineSvgOptions {
    std::string title;         ///< in plain text; may be empty
    std::int32_t width = 1200; ///< pixels
};

/// A whole SVG document. `simulation`: of `schedule`, each action's times kept; simulated or
/// measured.
std::string timeline_svg(const Schedule& schedule, const Simulation& simulation,
                         const TimelineSvgOptions& options = {});

} // namespace sluice
