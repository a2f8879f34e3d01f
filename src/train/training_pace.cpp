#include "src/train/training_pace.hpp"

#include <algorithm>

namespace sluice {

namespace {

constexpr double stretch_seconds = 30.0;

} // namespace

void TrainingPace::add(double seconds, double now)
{
    if (num_updates_ == 0)
        begun_ = now - seconds;
    ended_ = now;
    computed_seconds_ += seconds;
    ++num_updates_;
    recent_.push_back(seconds);
    recent_seconds_ += seconds;
    while (recent_.size() > 1 && recent_seconds_ - recent_.front() >= stretch_seconds) {
        recent_seconds_ -= recent_.front();
        recent_.pop_front();
    }
}

double TrainingPace::seconds_per_update() const
{
    return recent_.empty() ? 0.0 : recent_seconds_ / static_cast<double>(recent_.size());
}

double TrainingPace::seconds_for(std::int64_t num_updates) const
{
    if (num_updates_ == 0)
        return 0.0;
    const double between = std::max(0.0, ended_ - begun_ - computed_seconds_);
    return static_cast<double>(num_updates) *
           (seconds_per_update() + between / static_cast<double>(num_updates_));
}

} // namespace sluice
