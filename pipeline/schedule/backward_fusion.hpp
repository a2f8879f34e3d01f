// Whole backward passes where splitting them gains nothing.
#pragma once

#include "pipeline/schedule/schedule.hpp"

namespace sluice {

/// Makes one backward of every input gradient that its weight gradient directly follows, where
/// nobody can use the input gradient in between: on chunk 0, and where the previous chunk is on the
/// same rank. Takes the same time and waits, and a chunk left without weight gradients of its own
/// keeps less memory. Elsewhere the split stays: it lets the gradient travel earlier.
void fuse_backwards(Schedule& schedule);

} // namespace sluice
