// What can be said about a schedule from each rank's list alone, without running it: part of the
// checker.
#pragma once

#include "pipeline/schedule/problem_list.hpp"
#include "pipeline/schedule/schedule_checker.hpp"

namespace sluice {

/// Adds a problem for everything that is out of range, on the wrong rank, missing, there twice, out
/// of micro-batch order, in front of what it needs, or has no partner.
void check_action_order(const Schedule& schedule, MatchingRule rule, ProblemList& problems);

} // namespace sluice
