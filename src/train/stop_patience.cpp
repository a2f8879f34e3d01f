#include "src/train/stop_patience.hpp"

#include "src/train/progress_line.hpp"

#include <csignal>
#include <cstring>
#include <unistd.h>

namespace sluice {

std::string signal_name(int signal)
{
    const char* name = sigabbrev_np(signal);
    return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

StopPatience::Answer StopPatience::hear(int signal, Clock::time_point now)
{
    if (num_requests_ > 0 && (signal != SIGINT || now <= last_ + std::chrono::seconds(1)))
        return Answer::nothing;
    last_ = now;
    switch (++num_requests_) {
    case 1: return Answer::stop;
    case 2: return Answer::warn;
    default: return Answer::give_up;
    }
}

void say_answer(StopPatience::Answer answer, int signal)
{
    using Answer = StopPatience::Answer;
    if (answer == Answer::nothing)
        return;
    // The cursor may stand behind a progress line that another thread or process has drawn.
    std::string text = shows_on_terminal(stderr) ? "\r\033[K[sluice] " : "[sluice] ";
    if (answer == Answer::stop)
        text += signal_name(signal) + ": this update is finished and saved, then the run stops";
    else if (answer == Answer::warn)
        text += "still finishing the update or saving it; a third Ctrl-C ends the run at once and "
                "loses what is not in a checkpoint";
    else
        text += "a third Ctrl-C: ended at once; the same command continues from the newest "
                "checkpoint";
    text += "\n";
    // Nobody may be left to read it.
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
}

} // namespace sluice
