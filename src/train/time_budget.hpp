// How long this job may still run, and whether that is enough for another update and a save.
//
// The end comes from Slurm (SLURM_JOB_END_TIME, seconds since 1970; the batch scripts set it where
// Slurm does not) or from run.time_limit_seconds, whichever is earlier. Rank 0 decides for all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace sluice {

/// Times are seconds on one clock, whose zero does not matter.
class TimeBudget {
public:
    static constexpr double never = std::numeric_limits<double>::infinity();

    TimeBudget() = default;
    /// `save_seconds`: what a save is taken for until one was measured.
    TimeBudget(double end, double save_seconds) : end_(end), save_seconds_(save_seconds) {}

    /// Once per update, at the same place: what passes in between (the update, saves) is what the
    /// next one may take.
    void update_passed(double now);
    /// Of what passes in between, but is broken off when the time is up.
    void leave_out(double seconds) { last_ += last_ >= 0.0 ? seconds : 0.0; }
    void saved(double seconds) { save_seconds_ = seconds; }
    /// A save is being written while training goes on: the last one will have to wait for it.
    void saving(bool under_way) { saving_ = under_way; }

    /// Whether the next update and the save after it might not fit.
    bool is_spent(double now) const { return end_ - now < needed(); }
    /// Of a slow update, a slow save (two where one is under way), and leaving.
    double needed() const;

private:
    static constexpr std::size_t remembered_updates = 32;
    static constexpr double allowance = 1.5; ///< the next may be slower than the slowest seen
    static constexpr double leaving_seconds = 5.0;

    double end_ = never;
    double save_seconds_ = 0.0;
    bool saving_ = false;
    double last_ = -1.0;
    std::array<double, remembered_updates> recent_{};
    std::size_t next_ = 0;
};

/// Seconds from now to the earlier of SLURM_JOB_END_TIME and `time_limit_seconds` (0: none) after
/// the start of this process; TimeBudget::never when there is neither.
double seconds_until_end(std::int64_t time_limit_seconds);

} // namespace sluice
