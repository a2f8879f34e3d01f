// How fast updates follow each other, told so that it does not jump from one to the next.
#pragma once

#include <cstdint>
#include <deque>

namespace sluice {

class TrainingPace {
public:
    /// An update has ended at `now` (seconds on a clock of any beginning) and took `seconds`.
    void add(double seconds, double now);

    /// Mean of the updates of about the last 30 s of computing, at least of the last one. 0 before
    /// the first.
    double seconds_per_update() const;
    /// Until so many more updates are done, with what passes between updates (saves, evaluations)
    /// as often as it has so far.
    double seconds_for(std::int64_t num_updates) const;

private:
    std::deque<double> recent_; ///< seconds of updates, the last at the back
    double recent_seconds_ = 0.0;
    double begun_ = 0.0, ended_ = 0.0; ///< of the first update, of the last
    double computed_seconds_ = 0.0;    ///< of all updates
    std::int64_t num_updates_ = 0;
};

} // namespace sluice
