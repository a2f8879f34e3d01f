// Costs as this machine has them: a chunk of two decoder layers, one of the embedding and one of
// the head run a few micro-batches of random numbers.
//
// One process measures alone. Ranks that share a machine also share its memory's bandwidth and its
// clock, so several at once may be a few percent slower than planned (docs/planner.md).
#pragma once

#include "src/config/run_config.hpp"
#include "src/plan/cost_model.hpp"

namespace sluice {

/// Medians of several runs after one that is not counted, with the threads of core/parallel.hpp.
/// Takes memory for two layers, embedding and head; the head's three passes, which run at once, are
/// reported in equal parts. Messages on CPUs: what copying one activation out and in costs here,
/// checksums included where the run verifies transfers; on GPUs, and latency anywhere, as in
/// costs_from_flops().
CostModel measure_costs(const RunConfig& config);

} // namespace sluice
