// Requests to stop: Ctrl-C, TERM, HUP, USR1 and XCPU on any rank; on rank 0 also a file STOP in the
// run folder and the end of the job's time. The trainer asks in every update, and all ranks agree
// at its end.
#pragma once

#include "src/process/stopwatch.hpp"
#include "src/train/time_budget.hpp"

#include <filesystem>
#include <string>

namespace sluice {

/// What this rank knows of requests to stop.
class StopRequest {
public:
    /// Signals only.
    StopRequest() = default;
    /// Rank 0. A STOP file that is there already counts: somebody put it there for this run. The
    /// clock of `budget` starts at 0 now.
    /// `signal_file`: where a launcher says which signal it has passed on as SIGUSR1; it may not
    /// have arrived. Empty where there is no such launcher.
    StopRequest(std::filesystem::path stop_file, TimeBudget budget,
                std::filesystem::path signal_file = {});

    /// Once per update, for the clock of the budget.
    void update_passed() { budget_.update_passed(watch_.seconds()); }
    bool has_come();
    /// `seconds` of what passed since the last update were an evaluation.
    void evaluated(double seconds) { budget_.leave_out(seconds); }
    void saved(double seconds) { budget_.saved(seconds); }
    void saving(bool under_way) { budget_.saving(under_way); }

    /// "a STOP file", "the time limit", "SIGTERM", or empty.
    std::string reason() const;
    /// After the save: a STOP file that was found is removed, so that the next start continues.
    void obeyed() const;

private:
    std::filesystem::path stop_file_, signal_file_;
    TimeBudget budget_;
    Stopwatch watch_; ///< of budget_
    bool file_found_ = false, word_found_ = false, time_is_up_ = false;
};

} // namespace sluice
