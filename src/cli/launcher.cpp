#include "src/cli/launcher.hpp"

#include "core/error.hpp"
#include "src/cli/ended_run.hpp"
#include "src/cli/launch_limits.hpp"
#include "src/cli/output_relay.hpp"
#include "src/process/started_ranks.hpp"
#include "src/train/stop_patience.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice {

namespace {

constexpr timespec time_to_say_it_again{.tv_sec = 0, .tv_nsec = 200'000'000};

std::vector<std::string> mpirun_command(int num_ranks, const std::vector<std::string>& arguments)
{
    // --quiet: the ranks have said what there is to say. Threads share the cores that are there.
    std::vector<std::string> command{"mpirun", "--quiet", "--oversubscribe",        "--bind-to",
                                     "none",   "-n",      std::to_string(num_ranks)};
    if (geteuid() == 0)
        command.push_back("--allow-run-as-root");
    command.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
}

[[noreturn]] void become(std::vector<std::string>& command, pid_t launcher,
                         const sigset_t& signals_before)
{
    setpgid(0, 0);
    // mpirun passes it on: ranks whose launcher was killed save and stop.
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    if (getppid() != launcher)
        _exit(static_cast<int>(ExitCode::peer));
    mark_started_ranks();
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 0); // mpirun looks for its daemon there
    // mpirun would read for the ranks, which read nothing, what is meant for others: the rest of a
    // script, or of the loop that this command stands in.
    if (const int nothing = open("/dev/null", O_RDONLY); nothing > STDIN_FILENO) {
        dup2(nothing, STDIN_FILENO);
        close(nothing);
    }
    pthread_sigmask(SIG_SETMASK, &signals_before, nullptr);
    std::vector<char*> words;
    for (std::string& word : command)
        words.push_back(word.data());
    words.push_back(nullptr);
    execvp(words[0], words.data());
    const char* text =
        "sluice: cannot start mpirun; install Open MPI (openmpi-bin), or start the ranks "
        "with your own launcher\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
    _exit(static_cast<int>(ExitCode::usage));
}

/// What this process waits for. HUP stays ignored where it was (nohup).
sigset_t awaited_signals()
{
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGTSTP, SIGCHLD})
        sigaddset(&set, signal);
    struct sigaction action = {};
    if (sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    return set;
}

/// mpirun, as this process sees it.
class Launch {
public:
    Launch(pid_t mpirun, const RunFolder& folder) : mpirun_(mpirun), folder_(folder) {}

    /// Until mpirun has ended: its status, as waitpid() gives it.
    int wait(const sigset_t& awaited)
    {
        int status = 0;
        for (pid_t ended = 0; (ended = waitpid(mpirun_, &status, WNOHANG)) != mpirun_;) {
            SLUICE_CHECK(ended == 0, "waitpid: " << std::strerror(errno));
            const int signal = sigtimedwait(&awaited, nullptr, &time_to_say_it_again);
            if (signal < 0 && asked_)
                leave_word();
            if (signal < 0 || signal == SIGCHLD)
                continue;
            if (signal == SIGTSTP)
                suspend();
            else
                hear(signal);
        }
        return status;
    }

    bool gave_up() const { return gave_up_; }
    bool asked_to_stop() const { return asked_ != 0; }

private:
    /// Ctrl-Z reaches this process group only.
    void suspend() const
    {
        kill(mpirun_, SIGTSTP); // mpirun stops the ranks, not itself
        kill(getpid(), SIGSTOP);
        kill(mpirun_, SIGCONT);
    }

    void hear(int signal)
    {
        const auto answer = patience_.hear(signal, StopPatience::Clock::now());
        if (answer == StopPatience::Answer::stop) {
            asked_ = signal;
            leave_word();
        }
        say_answer(answer, signal);
        gave_up_ = gave_up_ || answer == StopPatience::Answer::give_up;
        kill(mpirun_, gave_up_ ? SIGTERM : SIGUSR1);
    }

    /// What mpirun is sent while it starts the ranks is lost, and the folder may not be there yet.
    void leave_word() const
    {
        std::error_code error;
        if (!std::filesystem::exists(folder_.signal_file(), error))
            std::ofstream(folder_.signal_file()) << signal_name(asked_) << "\n";
    }

    pid_t mpirun_;
    const RunFolder& folder_;
    StopPatience patience_;
    int asked_ = 0; ///< the signal that asked to stop
    bool gave_up_ = false;
};

} // namespace

int launch_ranks(int num_ranks, const std::vector<std::string>& arguments,
                 const std::filesystem::path& run_dir)
{
    refuse_unlaunchable(num_ranks);
    std::vector<std::string> command = mpirun_command(num_ranks, arguments);
    EndedRun ended(run_dir);
    const RunFolder folder(run_dir);
    std::error_code not_there;
    std::filesystem::remove(folder.signal_file(), not_there);

    // Blocked before there are children: theirs must not be missed, and a relay heeds no signal.
    const sigset_t awaited = awaited_signals();
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &awaited, &before);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
        std::signal(signal, SIG_DFL);
    OutputRelay relay;
    const pid_t launcher = getpid();
    const pid_t process = fork();
    if (process < 0)
        throw usage_error(std::string("cannot start a process: ") + std::strerror(errno),
                          "--ranks");
    if (process == 0) {
        relay.attach();
        become(command, launcher, before);
    }
    std::signal(SIGPIPE, SIG_IGN);
    Launch launch(process, folder);
    const int status = launch.wait(awaited);
    relay.finish();
    std::filesystem::remove(folder.signal_file(), not_there);
    return ended.exit_code(status, launch.asked_to_stop(), launch.gave_up());
}

} // namespace sluice
