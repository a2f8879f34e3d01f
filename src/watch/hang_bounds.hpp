// How long a rank may stand still before a run is given up: short in updates, whose length is
// known, and generous where files are read or written.
#pragma once

#include "pipeline/rank_activity.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice {

/// Seconds.
struct HangBounds {
    double silence = 0.0;    ///< without a heartbeat, in any phase
    double training = 0.0;   ///< of the main thread on one spot
    double evaluating = 0.0; ///< evaluations move on with every micro-batch, too
    double connecting = 0.0; ///< with one rank, or with all of an exchange
    double files = 0.0;      ///< starting, saving, ending, at files

    /// At files, a rank of any phase may stand as long as they take.
    double of(const RankState& state) const;
};

/// `hang_seconds`: of the run file; 0: the larger of 30 s and 5 times `slowest_update` seconds.
/// Until `finished_updates` reaches 2, nothing is known about how long an update takes. Of a
/// checkpoint, a rank has `checkpoint_bytes` at most.
HangBounds hang_bounds(double hang_seconds, std::int64_t finished_updates, double slowest_update,
                       double checkpoint_bytes = 0.0);

/// The slowest usual update: the second slowest of the last 64, so that one that was held up once
/// does not stretch the bound for long.
class SlowestUpdate {
public:
    void add(double seconds);
    /// Seconds; 0 before the first.
    double seconds() const;

private:
    static constexpr std::size_t kept = 64;
    std::array<double, kept> last_{};
    std::size_t count_ = 0;
};

} // namespace sluice
