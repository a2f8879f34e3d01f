#include "src/watch/hang_bounds.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Bytes per second of one rank's part of a checkpoint. A file system that many share may be that
/// slow, and an fsync says nothing until all of it is written.
constexpr double slowest_file = 10e6;

} // namespace

double HangBounds::of(const RankState& state) const
{
    if (state.at_files)
        return files;
    switch (state.phase) {
    case RankPhase::training: return training;
    case RankPhase::evaluating: return evaluating;
    case RankPhase::connecting: return connecting;
    case RankPhase::starting:
    case RankPhase::saving:
    case RankPhase::ending: break;
    }
    return files;
}

HangBounds hang_bounds(double hang_seconds, std::int64_t finished_updates, double slowest_update,
                       double checkpoint_bytes)
{
    const double bound = hang_seconds > 0.0 ? hang_seconds : std::max(30.0, 5.0 * slowest_update);
    const double patient = std::max(900.0, 20.0 * bound);
    // The first update touches all memory for the first time. Two ranks take seconds to connect,
    // and each pair counts by itself.
    return {.silence = bound,
            .training = finished_updates < 2 ? patient : bound,
            .evaluating = 4.0 * bound,
            .connecting = std::max(300.0, 10.0 * bound),
            .files = std::max(patient, checkpoint_bytes / slowest_file)};
}

void SlowestUpdate::add(double seconds) { last_[count_++ % kept] = seconds; }

double SlowestUpdate::seconds() const
{
    const std::size_t known = std::min(count_, kept);
    if (known < 2)
        return last_[0];
    double slowest = 0.0, second = 0.0;
    for (std::size_t i = 0; i < known; ++i) {
        second = std::max(second, std::min(slowest, last_[i]));
        slowest = std::max(slowest, last_[i]);
    }
    return second;
}

} // namespace sluice
