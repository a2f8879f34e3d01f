// What evaluating a saved model takes: forward passes alone, on one processor.
#pragma once

#include "src/plan/run_plan.hpp"

#include <cstddef>
#include <cstdint>

namespace sluice {

/// Forwards only, on one rank whose stage has memory for no others (Passes::forward_only): weights,
/// one layer's activations, and the head's. `config.run.device` must be concrete.
RunPlan plan_evaluation(const RunConfig& config, std::int32_t num_microbatches);

/// Throws UserError (usage) where evaluating needs more than `num_bytes`, with what it needs for
/// what, and a micro-batch that would fit: the largest that halving it (rounded down) comes to.
/// `plan` must be of `config`.
void refuse_evaluation_unless_it_fits(const RunConfig& config, const RunPlan& plan,
                                      std::size_t num_bytes);

} // namespace sluice
