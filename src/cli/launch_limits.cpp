#include "src/cli/launch_limits.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "src/text/number_text.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <sys/resource.h>
#include <system_error>

namespace sluice {

namespace {

namespace fs = std::filesystem;

/// Open MPI 4.1 with 2 and 3 ranks: 8.3 MB in its folder, in files of up to 4 MiB.
constexpr std::uint64_t session_bytes = 10'000'000;
constexpr rlim_t largest_session_file = 4 << 20;

/// Measured with Open MPI 4.1 and rounded up: mpirun itself, and pipes and sockets to each rank. Of
/// more ranks than 1024 files are for, most are on other machines.
constexpr rlim_t files_of_mpirun(int num_ranks)
{
    return std::min<rlim_t>(1024, 40 + 8 * static_cast<rlim_t>(num_ranks));
}

void raise_open_files(int num_ranks)
{
    const rlim_t needed = files_of_mpirun(num_ranks);
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return;
    const rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < needed)
        throw usage_error(fmt::format("a process may have {} open files here, and mpirun needs {} "
                                      "for {} ranks",
                                      std::max(soft, limit.rlim_cur), needed, num_ranks),
                          "--ranks", fmt::format("raise the limit: `ulimit -n {}`", needed));
}

void refuse_small_files()
{
    rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < largest_session_file)
        throw usage_error(fmt::format("a file may have {} here, and mpirun writes larger ones",
                                      bytes_text(limit.rlim_cur)),
                          "--ranks", "raise the limit: `ulimit -f unlimited`");
}

/// As Open MPI looks for it.
fs::path folder_of_sessions()
{
    for (const char* name : {"OMPI_MCA_orte_tmpdir_base", "TMPDIR", "TEMP", "TMP"})
        if (const char* value = std::getenv(name); value != nullptr && *value != '\0')
            return value;
    return "/tmp";
}

void refuse_without_session_folder()
{
    const fs::path folder = folder_of_sessions();
    constexpr const char* remedy = "set TMPDIR to a folder of this machine with room in it";
    std::error_code error;
    fs::create_directories(folder, error); // mpirun would do that, too
    std::string probe = (folder / "sluice-XXXXXX").string();
    if (!error && mkdtemp(probe.data()) == nullptr)
        error.assign(errno, std::generic_category());
    if (error)
        throw usage_error("mpirun can put no files there: " + error.message(), folder.string(),
                          remedy);
    fs::remove(probe, error);
    if (const auto free = free_space(folder); free && *free < session_bytes)
        throw usage_error(fmt::format("mpirun needs {} there, and {} is free",
                                      bytes_text(session_bytes), bytes_text(*free)),
                          folder.string(), remedy);
}

} // namespace

void refuse_unlaunchable(int num_ranks)
{
    raise_open_files(num_ranks);
    refuse_small_files();
    refuse_without_session_folder();
}

} // namespace sluice
