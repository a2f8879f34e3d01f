// Whether this MPI takes memory of GPUs. Open MPI and what descends from it say so by an extension
// of their own, MPICH by another one; of a library that says nothing it is not assumed.

#include "pipeline/transport/mpi_message_type.hpp"
#include "pipeline/transport/transport.hpp"

#include <csignal>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

namespace sluice {

namespace {

constexpr int takes_it = 10, takes_it_not = 11; ///< exit codes of the child
constexpr unsigned patience_seconds = 30;

[[noreturn]] void ask_in_this_process()
{
    alarm(patience_seconds);
    if (const int nowhere = open("/dev/null", O_WRONLY); nowhere >= 0) {
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
    }
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        _exit(1);
    const int answer = mpi_takes_gpu_memory() ? takes_it : takes_it_not;
    MPI_Finalize();
    _exit(answer);
}

/// "Open MPI v4.1.4": the rest of what libraries say is about who built them.
std::string name_of_library()
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    if (MPI_Get_library_version(text, &length) != MPI_SUCCESS || length <= 0)
        return "an unknown MPI";
    const std::string all(text, static_cast<std::size_t>(length));
    const std::string first = all.substr(0, all.find_first_of(",\n"));
    std::string name;
    for (const char c : first) // MPICH lays its lines out with tabs
        if (c != '\t')
            name += c;
        else if (!name.empty() && name.back() != ' ')
            name += ' ';
    return name;
}

} // namespace

bool mpi_takes_gpu_memory()
{
#if defined(MPIX_GPU_SUPPORT_CUDA)
    int supported = 0;
    return MPIX_GPU_query_support(MPIX_GPU_SUPPORT_CUDA, &supported) == MPI_SUCCESS &&
           supported != 0;
#elif defined(MPIX_CUDA_AWARE_SUPPORT)
    return MPIX_Query_cuda_support() == 1;
#else
    return false;
#endif
}

std::string describe_mpi()
{
    const std::string name = name_of_library();
    const pid_t child = fork();
    if (child == 0)
        ask_in_this_process();
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return name + " (it does not start here)";
    switch (WEXITSTATUS(status)) {
    case takes_it: return name + ", which takes GPUs' memory as it lies (CUDA-aware)";
    case takes_it_not: return name + ", which does not take GPUs' memory (not CUDA-aware)";
    default: return name + " (it does not start here)";
    }
}

} // namespace sluice
