// Why a rank idles: the idle time of an update split by cause, from what the chunks' actions take,
// estimated or measured.
//
// The schedule is simulated three times: with every chunk costing the mean and free transfers (what
// is idle then is fill and drain, the schedule's own), with the real chunks and free transfers, and
// with both real. Each difference is one cause.
#pragma once

#include "pipeline/simulator.hpp"

#include <span>
#include <vector>

namespace sluice {

/// Seconds of one rank in one update.
struct IdleCauses {
    double fill_drain = 0.0; ///< with equal chunks and free transfers
    /// What the real chunk costs add; negative on a rank that the slower ones leave no time to
    /// wait.
    double imbalance = 0.0;
    double exposed_transfer = 0.0; ///< what transfers add: those that no computation hides
    double barrier = 0.0; ///< the reduction at the optimizer step, on top of simulate()'s total
    double idle() const { return fill_drain + imbalance + exposed_transfer + barrier; }
};

struct IdleByCause {
    std::vector<IdleCauses> ranks; ///< [rank]
    std::vector<double> busy;      ///< [rank], seconds of computation
    double total = 0.0;            ///< seconds of the update: busy[r] + ranks[r].idle() of any rank
    IdleCauses mean() const;       ///< over the ranks
};

/// `costs`: one entry per chunk; `barrier_seconds`: what the reductions at the optimizer step take,
/// the same on each rank. The schedule must have passed the checker, with its communication actions
/// or without. ranks[r].idle() is simulate().idle[r] + barrier_seconds.
IdleByCause idle_causes(const Schedule& schedule, std::span<const ChunkCosts> costs,
                        double barrier_seconds = 0.0);

} // namespace sluice
