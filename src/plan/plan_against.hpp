// A plan and what was measured, side by side, and where the two part.
//
// Three columns: the plan; the same schedule simulated with what each chunk was measured to take;
// and the measurement. Where the first two differ, the costs were wrong; where the last two do, the
// simulation leaves something out.
#pragma once

#include "src/plan/measured_run.hpp"
#include "src/plan/plan_report.hpp"

#include <string>

namespace sluice {

/// Throws UserError (usage) naming what differs unless the run had the plan's schedule, replicas,
/// ranks (those of all replicas), chunks and micro-batches.
void check_same_layout(const PricedPlan& priced, const MeasuredRun& measured);

/// 80 columns: the mean rank's update part by part, ranks, chunks, and in words where they part
/// most. The layouts must be the same.
std::string against_text(const PricedPlan& priced, const MeasuredRun& measured);

} // namespace sluice
