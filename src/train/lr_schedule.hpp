// The learning rate of every update.
#pragma once

#include "src/config/run_config.hpp"

#include <cstdint>

namespace sluice {

/// The rate of the update that runs after `k` completed ones (0 <= k <= `updates`), times `lr`, the
/// peak. With W = config.warmup_steps, U = `updates` (of the whole run), m = config.min_lr_ratio:
///   k < W:    k / W, so the very first update of a warming run has rate 0 (the reference's way)
///   wsd:      1 up to and with k = U - D, D = num_decay_updates(); then linearly from 1 to m:
///             m + (1 - m) (U - k) / D
///   cosine:   m + (1 - m) (1 + cos(pi p)) / 2 with p = (k - W) / (U - W)
///   linear:   m + (1 - m) (1 - p)
///   constant: 1
/// The decay reaches m at k = U, after the last update: that one, k = U - 1, still runs at
/// m + (1 - m) / D (wsd). A warm-up that reaches into the decay (the run file refuses it) wins.
double learning_rate(const LearningRateConfig& config, double lr, std::int64_t updates,
                     std::int64_t k);

} // namespace sluice
