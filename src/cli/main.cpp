// `sluice`: one program, one file per subcommand.

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/cli/bundled_mpirun.hpp"
#include "src/cli/command_line.hpp"
#include "src/process/thread_environment.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace {

using namespace sluice;

/// Whether it may compute, in this process or in those that it starts.
bool computes(int argc, char** argv)
{
    const std::string_view command = argc > 1 ? argv[1] : "";
    return command == "train" || command == "eval" || command == "plan";
}

int run(int argc, char** argv, const LaunchedAs& launched)
{
    try {
        if (computes(argc, argv))
            settle_thread_environment(argv);
        return with_file_errors_in_words([&] { return run_command_line(argc, argv); });
    } catch (const AgreedError& error) {
        if (launched.rank == 0)
            std::fprintf(stderr, "sluice: %s\n", error.what());
        return static_cast<int>(error.code());
    } catch (const UserError& error) {
        // Most mistakes meet every rank alike. Rank 0 speaks; another rank is heard only when it is
        // still there a moment later, which means that rank 0 found nothing wrong.
        if (launched.rank != 0)
            std::this_thread::sleep_for(std::chrono::seconds(2));
        const std::string who =
            launched.rank == 0 ? "" : "rank " + std::to_string(launched.rank) + ": ";
        std::fprintf(stderr, "sluice: %s%s\n", who.c_str(), error.what());
        return static_cast<int>(error.code());
    } catch (const PeerError& error) {
        std::fprintf(stderr, "sluice: rank %d: %s\n", launched.rank, error.what());
        return static_cast<int>(ExitCode::peer);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "sluice: rank %d: %s\n", launched.rank, error.what());
        return static_cast<int>(ExitCode::invariant);
    }
}

/// For scripts around a launcher that ends the other ranks at once and makes its own exit code of
/// that (slurm/chain.sh).
void leave_exit_code(int code)
{
    if (const char* file = std::getenv("SLUICE_EXIT_FILE"))
        std::ofstream(file) << code << '\n';
}

/// Where a standard descriptor is closed, the next file that is opened would have its number, and
/// get what is said.
void open_standard_descriptors()
{
    int opened = 0;
    while (opened >= 0 && opened <= STDERR_FILENO)
        opened = open("/dev/null", O_RDWR);
    if (opened > STDERR_FILENO)
        close(opened);
}

} // namespace

int main(int argc, char** argv)
{
    open_standard_descriptors();
    // Whoever started this may ignore it, and then no child's end could be waited for.
    std::signal(SIGCHLD, SIG_DFL);
    std::error_code error;
    use_bundled_mpirun(std::filesystem::read_symlink("/proc/self/exe", error));
    const LaunchedAs launched = launched_as();
    start_logging(launched.rank, std::max(launched.num_ranks, launched.num_slurm_tasks));
    const int code = run(argc, argv, launched);
    if (launched.rank == 0)
        leave_exit_code(code);
    return code;
}
