#include "src/cli/ended_run.hpp"

#include "core/error.hpp"
#include "io/status_file.hpp"
#include "src/train/stop_patience.hpp"

#include <cstdio>
#include <optional>
#include <sys/wait.h>

namespace sluice {

namespace {

bool is_exit_code_of_ranks(int code)
{
    switch (static_cast<ExitCode>(code)) {
    case ExitCode::finished:
    case ExitCode::usage:
    case ExitCode::data:
    case ExitCode::invariant:
    case ExitCode::peer:
    case ExitCode::stopped: return true;
    }
    return false;
}

/// Of mpirun, or of the rank that mpirun tells of as 128 + signal.
std::string end_in_words(int wait_status)
{
    if (WIFSIGNALED(wait_status))
        return "mpirun was ended by " + signal_name(WTERMSIG(wait_status));
    const int code = WEXITSTATUS(wait_status);
    if (code > 128 && code < 192)
        return "a rank was ended by " + signal_name(code - 128);
    return "mpirun ended with exit code " + std::to_string(code);
}

} // namespace

EndedRun::EndedRun(const std::filesystem::path& run_dir)
    : folder_(run_dir), status_before_(folder_.status_text())
{
}

bool EndedRun::is_left()
{
    std::error_code error;
    if (!std::filesystem::exists(folder_.path(), error))
        return true;
    try {
        return folder_.lock(std::chrono::seconds(10));
    } catch (const UserError&) {
        return true; // a folder that nobody can write into, be it us or the ranks
    }
}

int EndedRun::exit_code(int wait_status, bool asked_to_stop, bool gave_up)
{
    const bool known = WIFEXITED(wait_status) && is_exit_code_of_ranks(WEXITSTATUS(wait_status));
    if (known && static_cast<ExitCode>(WEXITSTATUS(wait_status)) != ExitCode::peer)
        return WEXITSTATUS(wait_status);
    // Ranks that have lost their mpirun may still be on their way out.
    if (!is_left()) {
        std::fprintf(stderr,
                     "sluice: %s, and its ranks still run\n  what to do: `touch %s` makes them "
                     "save and stop\n",
                     end_in_words(wait_status).c_str(), folder_.stop_file().c_str());
        return static_cast<int>(ExitCode::peer);
    }
    const auto status = read_status(folder_.status());
    const bool of_this_run = folder_.status_text() != status_before_;
    if (of_this_run && status && status->state != "running") {
        if (!known && status->state != "failed")
            std::fprintf(stderr, "sluice: %s; the run had %s before, at update %lld: %s\n",
                         end_in_words(wait_status).c_str(), status->state.c_str(),
                         static_cast<long long>(status->update), status->reason.c_str());
        return known ? WEXITSTATUS(wait_status) : status->exit_code;
    }
    if (gave_up) {
        folder_.tell_ended_without_a_word(given_up_reason);
        return static_cast<int>(ExitCode::peer);
    }
    if (known && !of_this_run)
        return WEXITSTATUS(wait_status); // a rank has said why before the run had begun
    if (!of_this_run) {
        if (asked_to_stop) {
            std::fprintf(stderr, "sluice: stopped before the run had begun; nothing has changed\n");
            return static_cast<int>(ExitCode::stopped);
        }
        std::fprintf(stderr,
                     "sluice: %s before the run had begun; nothing has changed\n  what to do: see "
                     "what mpirun says above, or by itself (`mpirun -n P sluice train RUN.toml`), "
                     "and `sluice doctor`; it needs memory, processes, and room in /tmp (TMPDIR) "
                     "and /dev/shm\n",
                     end_in_words(wait_status).c_str());
        return static_cast<int>(ExitCode::peer);
    }
    const std::string reason = end_in_words(wait_status) + ", and the run with it, unsaved";
    folder_.tell_ended_without_a_word(reason);
    std::fprintf(stderr,
                 "sluice: %s\n  what to do: run the same command again; it continues from the "
                 "newest checkpoint, if there is one\n",
                 reason.c_str());
    return static_cast<int>(ExitCode::peer);
}

} // namespace sluice
