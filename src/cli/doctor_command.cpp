// sluice doctor: what this machine and this build can do.

#include "core/cuda/gpu.hpp"
#include "core/parallel.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/cli/commands.hpp"
#include "src/train/rank_device.hpp"
#include "src/train/threads.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace sluice {

namespace {

/// "71.3 of 79 GiB free", or why that is not known: the first touch of a GPU may fail.
std::string memory_of(int index, const GpuInfo& gpu)
{
    const auto gib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1u << 30); };
    try {
        use_gpu(index);
        return fmt::format("{:.1f} of {:.0f} GiB free", gib(free_gpu_bytes()),
                           gib(gpu.total_bytes));
    } catch (const std::exception& error) {
        return fmt::format("{:.0f} GiB, cannot be used: {}", gib(gpu.total_bytes), error.what());
    }
}

void examine_gpus()
{
    if (num_gpus() == 0)
        fmt::print("  GPUs           none: {}\n", why_no_gpu());
    for (int index = 0; index < num_gpus(); ++index) {
        const GpuInfo gpu = gpu_info(index);
        fmt::print("  GPU {}          {}, compute capability {}.{}{}, {}\n", index, gpu.name,
                   gpu.major, gpu.minor,
                   gpu.major < least_gpu_major ? " (too old: 8.0 is the least)" : "",
                   memory_of(index, gpu));
    }
}

int examine()
{
    const std::string mpi = describe_mpi(); // while no GPU is in use
    const LaunchedAs launched = launched_as();
    const auto pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));
    const double gib = pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1u << 30);
    fmt::print("sluice {}\n", SLUICE_VERSION);
    fmt::print("  cores          {} on this machine, {} thread(s) for this rank\n",
               std::thread::hardware_concurrency(), threads_for_this_rank(0));
    fmt::print("  memory         {:.1f} GiB\n", gib);
    fmt::print("  launched as    {}\n",
               launched.by_launcher
                   ? fmt::format("rank {} of {}", launched.rank, launched.num_ranks)
                   : std::string("one process (use `mpirun -n P sluice train ...` for P stages)"));
    fmt::print("  backends       cpu (fp32 and bf16, oneDNN), reference (fp64)\n");
    examine_gpus();
    const std::string no_cudnn = kernels::why_no_cudnn();
    fmt::print("  cuDNN          {}\n", no_cudnn.empty() ? kernels::cudnn_version() : no_cudnn);
    const std::string no_nccl = why_no_nccl();
    fmt::print("  NCCL           {}\n", no_nccl.empty() ? nccl_version() : no_nccl);
    fmt::print("  transports     in-process, MPI{}\n", no_nccl.empty() ? ", NCCL" : "");
    fmt::print("  MPI            {}\n", mpi);
    std::error_code error;
    const auto space = std::filesystem::space(".", error);
    if (!error)
        fmt::print("  free space     {:.1f} GiB in this folder\n",
                   static_cast<double>(space.available) / (1u << 30));
    return 0;
}

} // namespace

void add_doctor_command(CLI::App& app, ChosenCommand& chosen)
{
    CLI::App* command = app.add_subcommand("doctor", "What this machine and this build can do");
    command->callback([&chosen] { chosen = examine; });
}

} // namespace sluice
