// How a rank ends that cannot go on, and what it leaves for people to read.
#include "core/logging.hpp"
#include "io/status_file.hpp"
#include "src/train/rank_run.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sluice {

namespace {

/// What `work` gives, or nothing after a second and a half: a file system that hangs, or a terminal
/// that takes no more text, may be why the process ends, and must not keep it from its end. Other
/// ranks give the one that speaks five seconds.
template <class Result>
Result in_a_moment(std::function<Result()> work)
{
    const auto done = std::make_shared<std::promise<Result>>();
    auto result = done->get_future();
    try {
        std::thread([done, work] { done->set_value(work()); }).detach();
    } catch (const std::system_error&) { // no more threads: that may be why it ends
        return work();
    }
    return result.wait_for(std::chrono::milliseconds(1500)) == std::future_status::ready
               ? result.get()
               : Result{};
}

} // namespace

void RankRun::write_failed_status(const std::string& why, ExitCode code)
{
    try {
        // A run that has finished still has, whatever a start of it meets.
        if (const auto at_lock = status_in(locked_ ? status_at_lock_ : "");
            at_lock && at_lock->state == "finished" && folder_.status_text() == status_at_lock_)
            return;
        // Before it has started, what the run would go on from is what it was.
        const auto before = started_ ? std::nullopt : read_status(folder_.status());
        const std::int64_t update = started_ ? activity_.completed_updates()
                                    : before ? before->update
                                             : 0;
        write_status(folder_.status(), "failed", update, why, static_cast<int>(code));
    } catch (const std::exception&) {
        // The message on standard error is what is left to give.
    }
}

void RankRun::leave_last_words(const std::string& why, ExitCode code)
{
    if (!folder_is_ours())
        return;
    write_failed_status(why, code);
    log_last_words(folder_.log(), why);
}

void RankRun::record_refusal(const std::string& why)
{
    if (transport_->rank() == 0 && folder_is_ours())
        write_failed_status(why, ExitCode::invariant);
}

bool RankRun::is_failure_of_this_job(const std::string& status) const
{
    if (!folder_is_ours())
        return false;
    // Once started, what it says is this job's; before, the last job's may still stand there.
    const std::string& before = locked_ ? status_at_lock_ : status_before_;
    const auto there = status_in(status);
    return (started_ || status != before) && there && there->state == "failed";
}

bool RankRun::folder_is_ours() const
{
    return !folder_.was_taken() && (folder_.is_held_by(rank_zero_) || folder_.is_held_by(""));
}

void RankRun::abandon(const std::string& why, ExitCode code)
{
    if (watch_)
        watch_->speak_for_all();
    std::string text = "rank " + std::to_string(transport_->rank()) + ": " + why;
    if (started_ && trainer_) // before what to do
        text.insert(std::min(text.find('\n'), text.size()), " (" + trainer_->where() + ")");
    // The first reason stays: a rank that was stopped and wakes up to be ended meets strange
    // things.
    const bool told = locked_ && is_failure_of_this_job(folder_.status_text());
    if (!told) {
        std::fprintf(stderr, "\nsluice: %s\n", text.c_str());
        if (locked_)
            leave_last_words(text, code);
    }
    transport_->abort(static_cast<int>(code));
    std::abort(); // never reached; not every compiler knows that of a virtual function
}

/// One file may hang where the other does not.
void RankRun::leave_last_words_in_a_moment(const std::string& why)
{
    in_a_moment<bool>([this, why] {
        if (folder_is_ours())
            write_failed_status(why, ExitCode::peer);
        return true;
    });
    in_a_moment<bool>([this, why] {
        if (folder_is_ours())
            log_last_words(folder_.log(), why);
        return true;
    });
}

void RankRun::end_by(const Alarm& alarm)
{
    if (alarm.kind == Alarm::Kind::told) {
        // The launcher ends all ranks as soon as the one that speaks has ended.
        std::this_thread::sleep_for(std::chrono::seconds(5));
        for (const pid_t process : alarm.stopped_here)
            kill(process, SIGKILL);
        _exit(static_cast<int>(ExitCode::peer));
    }
    // A rank that gave up has said why in status.json; then there is nothing to add to its end.
    const std::string last_words =
        in_a_moment<std::string>([this] { return folder_.status_text(); });
    const bool explained = alarm.kind == Alarm::Kind::died && is_failure_of_this_job(last_words);
    // All that was to be done is done and said: only processes are left over.
    const auto there = status_in(last_words);
    const bool over =
        started_ && there && (there->state == "finished" || there->state == "stopped");
    if (!explained) {
        std::string text, reason;
        for (const std::string& line : alarm.lines) {
            text += (text.empty() ? "\nsluice: " : "  ") + line + "\n";
            reason += (reason.empty() ? "" : "; ") + line;
        }
        text +=
            std::string("  what to do: ") +
            (over ? "nothing is lost; status.json says how the run had ended before"
             : alarm.remedy.empty() ? "run the same command again; it continues from the newest "
                                      "checkpoint, if there is one"
                                    : alarm.remedy) +
            "\n";
        in_a_moment<bool>([text] { return std::fputs(text.c_str(), stderr) >= 0; });
        if (!over)
            leave_last_words_in_a_moment(reason);
    }
    // The main thread may be stuck in a message to that rank: nothing orderly is left to do.
    _exit(static_cast<int>(ExitCode::peer));
}

} // namespace sluice
