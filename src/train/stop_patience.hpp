// What one more request to stop means: the first saves and stops, and only a third Ctrl-C gives up
// what is not saved.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace sluice {

/// "SIGINT", or "signal 40" where there is no name.
std::string signal_name(int signal);

class StopPatience {
public:
    using Clock = std::chrono::steady_clock;
    enum class Answer {
        stop,    ///< the first request: finish the update, save and stop
        nothing, ///< a repetition: launchers pass one Ctrl-C on more than once
        warn,    ///< the second Ctrl-C: say what a third does
        give_up, ///< the third: end at once
    };

    /// Only Ctrl-C is counted on, and only when more than a second has passed since the last one
    /// that counted: TERM comes from schedulers, again and again.
    Answer hear(int signal, Clock::time_point now);

private:
    int num_requests_ = 0;
    Clock::time_point last_{};
};

/// What status.json says after the third.
inline constexpr std::string_view given_up_reason =
    "ended at once by a third SIGINT, before this update was saved";

/// Says on standard error what comes of `signal`, at once and on a line of its own. For one rank or
/// the launcher; on any thread.
void say_answer(StopPatience::Answer answer, int signal);

} // namespace sluice
