// sluice doctor: what this machine and this build can do.

#include "core/cuda/gpu.hpp"
#include "core/durable_file.hpp"
#include "core/parallel.hpp"
#include "layers/kernels/cpu_products.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "layers/kernels/gpu_products.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/cli/commands.hpp"
#include "src/process/memory_budget.hpp"
#include "src/process/program_version.hpp"
#include "src/process/threads.hpp"
#include "src/text/number_text.hpp"
#include "src/train/rank_device.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace sluice {

namespace {

/// "71.3 GB of 80.0 GB free", or why that is not known: the first touch of a GPU may fail.
std::string memory_of(int index, const GpuInfo& gpu)
{
    try {
        use_gpu(index);
        return fmt::format("{} of {} free", bytes_text(free_gpu_bytes()),
                           bytes_text(gpu.total_bytes));
    } catch (const std::exception& error) {
        return fmt::format("{}, cannot be used: {}", bytes_text(gpu.total_bytes), error.what());
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
    const auto memory_bytes = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                              static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    fmt::print("{}\n", program_version());
    fmt::print("  cores          {} on this machine, {} thread(s) for this rank\n",
               std::thread::hardware_concurrency(), threads_for_this_rank(0));
    fmt::print("  memory         {} on this machine, {} for this rank\n", bytes_text(memory_bytes),
               bytes_text(memory_per_rank()));
    fmt::print("  launched as    {}\n",
               launched.by_launcher
                   ? fmt::format("rank {} of {}", launched.rank, launched.num_ranks)
                   : std::string("one process (use `mpirun -n P sluice train ...` for P stages)"));
    fmt::print("  backends       cpu (fp32 and bf16, oneDNN), reference (fp64)\n");
    fmt::print("  CPU products   {}\n", kernels::cpu_products_by(DType::bf16));
    examine_gpus();
    const std::string no_products = kernels::why_no_gpu_products();
    fmt::print("  GPU products   {}\n",
               no_products.empty() ? kernels::gpu_products_by() : no_products);
    const std::string no_cudnn = kernels::why_no_cudnn();
    fmt::print("  cuDNN          {}\n", no_cudnn.empty() ? kernels::cudnn_version() : no_cudnn);
    const std::string no_nccl = why_no_nccl();
    fmt::print("  NCCL           {}\n", no_nccl.empty() ? nccl_version() : no_nccl);
    fmt::print("  transports     in-process, MPI{}\n", no_nccl.empty() ? ", NCCL" : "");
    fmt::print("  MPI            {}\n", mpi);
    if (const auto free = free_space("."))
        fmt::print("  free space     {} in this folder\n", bytes_text(*free));
    return 0;
}

} // namespace

void add_doctor_command(CLI::App& app, ChosenCommand& chosen)
{
    CLI::App* command = app.add_subcommand("doctor", "What this machine and this build can do");
    command->callback([&chosen] { chosen = examine; });
}

} // namespace sluice
