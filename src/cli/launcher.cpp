#include "src/cli/launcher.hpp"

#include "core/error.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice {

namespace {

std::atomic<pid_t> mpirun_process{0};
std::atomic<std::time_t> first_request{0};

/// The first request asks the ranks to save and stop; a later one ends them.
extern "C" void pass_on(int)
{
    const std::time_t now = std::time(nullptr);
    std::time_t none = 0;
    const bool first = first_request.compare_exchange_strong(none, now);
    if (const pid_t process = mpirun_process.load(); process > 0)
        kill(process, first || now <= first_request.load() + 1 ? SIGUSR1 : SIGTERM);
}

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

[[noreturn]] void become(std::vector<std::string>& command)
{
    setpgid(0, 0);
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

} // namespace

int launch_ranks(int num_ranks, const std::vector<std::string>& arguments)
{
    std::vector<std::string> command = mpirun_command(num_ranks, arguments);
    struct sigaction action = {};
    action.sa_handler = pass_on;
    sigemptyset(&action.sa_mask);
    const pid_t process = fork();
    if (process < 0)
        throw usage_error(std::string("cannot start a process: ") + std::strerror(errno),
                          "--ranks");
    if (process == 0)
        become(command);
    mpirun_process.store(process);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
        sigaction(signal, &action, nullptr);
    int status = 0;
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return static_cast<int>(ExitCode::peer);
    const int code = WEXITSTATUS(status);
    // 128 + signal is mpirun's word for a rank that was killed.
    return code > 128 ? static_cast<int>(ExitCode::peer) : code;
}

} // namespace sluice
