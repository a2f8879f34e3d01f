#include "src/train/stop_request.hpp"

#include "core/logging.hpp"
#include "src/train/stop_patience.hpp"
#include "src/train/stop_signals.hpp"

#include <csignal>
#include <fstream>
#include <unistd.h>

namespace sluice {

StopRequest::StopRequest(std::filesystem::path stop_file, TimeBudget budget,
                         std::filesystem::path signal_file)
    : stop_file_(std::move(stop_file)), signal_file_(std::move(signal_file)), budget_(budget)
{
}

bool StopRequest::has_come()
{
    // access() and not std::filesystem, which allocates.
    if (!stop_file_.empty() && ::access(stop_file_.c_str(), F_OK) == 0)
        file_found_ = true;
    if (!signal_file_.empty() && ::access(signal_file_.c_str(), F_OK) == 0)
        word_found_ = true;
    time_is_up_ = time_is_up_ || budget_.is_spent(watch_.seconds());
    return file_found_ || word_found_ || time_is_up_ || received_stop_signal() != 0;
}

std::string StopRequest::reason() const
{
    // A STOP file ends a chain of jobs, the others do not: it comes first.
    if (file_found_)
        return "a STOP file";
    if (time_is_up_)
        return "the time limit";
    const int signal = received_stop_signal();
    if (signal == SIGUSR2)
        return "SIGUSR2: its launcher has died";
    std::string passed_on;
    if ((signal == SIGUSR1 || word_found_) &&
        std::getline(std::ifstream(signal_file_), passed_on) && !passed_on.empty())
        return passed_on;
    if (signal != 0)
        return signal_name(signal);
    return word_found_ ? "a signal to its launcher" : ""; // whose word is not written out yet
}

void StopRequest::obeyed() const
{
    std::error_code error; // none where it is gone already
    if (file_found_ && (std::filesystem::remove(stop_file_, error), error))
        log_warning(stop_file_.string() + " cannot be removed (" + error.message() +
                    "): until it is gone, every start stops behind its first update");
    if (!signal_file_.empty())
        std::filesystem::remove(signal_file_, error);
}

} // namespace sluice
