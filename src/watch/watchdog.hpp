// Notices ranks that die or hang, on any machine and under any launcher, while the main threads
// may be stuck in MPI (docs/failures.md, docs/decisions/0011).
//
// Every rank has a thread that tells two ranks, the centres, a few times a second what its main
// thread is doing, over TCP connections of its own; the centres answer. Rank 0 is one centre, the
// first rank on another machine the other (rank 1 where there is one machine). So each centre knows
// all ranks, one is left when the other fails, and 1,000 ranks are 1,000 small messages per second.
#pragma once

#include "pipeline/rank_activity.hpp"
#include "pipeline/transport/transport.hpp"

#include <functional>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sluice {

struct Alarm {
    enum class Kind : std::uint8_t {
        died,  ///< a rank's process has ended without a word
        hangs, ///< see stall.hpp
        told   ///< another rank speaks for all
    };
    Kind kind = Kind::told;
    std::vector<std::string> lines{};  ///< to be told: the first names the culprit
    std::string remedy{};              ///< empty: to start again
    std::vector<pid_t> stopped_here{}; ///< silent processes of this machine, to be ended
};

class Watchdog {
public:
    struct Options {
        double hang_seconds = 0.0;            ///< of the run file; 0: automatic
        std::vector<std::string> rank_name{}; ///< [rank]: for messages
        /// Called at most once, on a thread of its own. Must end this process.
        std::function<void(const Alarm&)> on_alarm;
    };
    /// Collective. `activity` (not owned) is this rank's.
    Watchdog(Transport& transport, RankActivity& activity, Options options);
    /// Ends the watch, after let_leave().
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    /// Collective, once: from here on processes may end, but none may stop on its way out. Nobody
    /// leaves while somebody still takes that for a death.
    void let_leave();
    /// Before leaving because of a failure: no collective, no more alarms. Does not return where an
    /// alarm already ends this process.
    void dismiss();
    /// The same for a rank that tells itself why it fails: others that hear of it need not guess.
    void speak_for_all();
    /// Ranks whose hanging nobody would notice, because no connection could be made. The same on
    /// every rank.
    const std::vector<int>& unwatched() const { return unwatched_; }

private:
    class Thread;
    Transport& transport_; ///< until let_leave()
    RankActivity& activity_;
    std::unique_ptr<Thread> thread_;
    std::vector<int> unwatched_;
    bool leaving_ = false, dismissed_ = false;
};

} // namespace sluice
