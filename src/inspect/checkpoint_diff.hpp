// Whether two checkpoints hold the same state, to the bit.
#pragma once

#include "io/checkpoint.hpp"

namespace sluice {

/// Compares parameters, moments, gate counters and progress (not the number of stages, which is
/// layout). Prints "identical to the bit", or the first tensor that differs and the largest
/// difference. Returns 0 when identical, 1 when not.
int print_diff(const CheckpointReader& left, const CheckpointReader& right, bool json);

} // namespace sluice
