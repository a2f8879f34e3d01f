#include "src/train/lr_schedule.hpp"

#include "core/error.hpp"

#include <cmath>
#include <numbers>

namespace sluice {

namespace {

/// From 1 where the decay starts to 0 at the end of the run.
double remaining(const LearningRateConfig& config, std::int64_t updates, std::int64_t k)
{
    const std::int64_t decay = num_decay_updates(config, updates);
    if (k <= updates - decay)
        return 1.0;
    const double share = static_cast<double>(updates - k) / static_cast<double>(decay);
    if (config.kind == LearningRateKind::cosine)
        return 0.5 * (1.0 + std::cos(std::numbers::pi * (1.0 - share)));
    return share;
}

} // namespace

double learning_rate(const LearningRateConfig& config, double lr, std::int64_t updates,
                     std::int64_t k)
{
    SLUICE_CHECK(k >= 0 && k <= updates, "update " << k << " of " << updates);
    if (k < config.warmup_steps)
        return lr * (static_cast<double>(k) / static_cast<double>(config.warmup_steps));
    const double floor = config.min_lr_ratio;
    return lr * (floor + (1.0 - floor) * remaining(config, updates, k));
}

} // namespace sluice
