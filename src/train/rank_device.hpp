// Which processor each rank computes on: settled by all ranks together before anything is planned.
#pragma once

#include "core/device.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/config/run_config.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

/// The least compute capability that the kernels run on: 8.0 (A100).
inline constexpr int least_gpu_major = 8;

/// One rank's GPU, as all ranks learn of it.
struct RankGpu {
    std::string node{};    ///< its name, for people
    std::string machine{}; ///< clones of one name have another (boot_id)
    int num_visible = 0;   ///< to its process; 0: it has none, and `why_none` says why
    std::string why_none{};
    bool driver_loaded = false; ///< on its machine, which therefore has GPUs
    int index = -1;             ///< of those it sees
    std::string name{}, uuid{}, pci_bus{};
    int major = 0, minor = 0; ///< compute capability
    bool operator==(const RankGpu&) const = default;
};

std::string to_text(const RankGpu& gpu);
RankGpu gpu_from(const std::string& text);

/// Ranks of one node that see the same GPUs take them in turns, by their order.
int gpu_index_of(int rank_among_them, int num_visible);

/// The GPU that this process would take as number `rank_among_them` of the ranks on `node` that see
/// the same GPUs.
RankGpu gpu_of_this_process(const std::string& node, int rank_among_them);

/// "no GPU: no NVIDIA driver is loaded", "a GPU of an older kind: ..."; empty where the kernels run
/// on it.
std::string why_unfit(const RankGpu& gpu);

/// Throws UserError (usage) that names the rank when one has no GPU, its GPU is older than the
/// kernels (compute capability 8.0), or ranks have GPUs of different kinds.
void refuse_unfit_gpus(const std::vector<RankGpu>& of_rank);

/// Why "auto" became the CPU, and how loudly it is said: a machine without GPUs is nothing to warn
/// of, GPUs that lie idle are.
struct WhyOnCpus {
    std::string reason{}; ///< "rank 1 on n2 has no GPU: ..."
    bool warns = false;
    std::string line() const;
};
/// Nothing where the GPUs fit.
std::optional<WhyOnCpus> why_on_cpus(const std::vector<RankGpu>& of_rank);

/// Ranks on the same GPU as `rank`, itself included.
int num_sharing(const std::vector<RankGpu>& of_rank, int rank);

/// Whether every rank has a whole GPU of its own. NCCL takes parts of one (MIG) for the same GPU,
/// and a part alone may have too little for messages that wait.
bool all_alone(const std::vector<RankGpu>& of_rank);

/// "rank 0 on GPU 0 of n1 (NVIDIA H200)", a line for ranks that share one.
std::vector<std::string> gpu_lines(const std::vector<RankGpu>& of_rank);

/// Where some ranks share a GPU and others do not, which nobody wants: a GPU is missing on a node,
/// or ranks are spread unevenly. Empty otherwise.
std::string uneven_sharing(const std::vector<RankGpu>& of_rank);

struct RankDevice {
    Device device{};
    int num_sharing = 1;             ///< ranks of the job on this GPU
    bool all_alone = false;          ///< every rank has a GPU of its own, and not a part of one
    std::vector<std::string> lines;  ///< for people; the same on every rank
    std::string warning{};           ///< likewise, or empty
    std::vector<std::string> gpus{}; ///< [num_ranks] names; none on CPUs
    WhyOnCpus why_on_cpus{};         ///< where "auto" became the CPU
    bool is_gpu() const { return device.kind == DeviceKind::cuda; }
};

/// Collective. Makes config.run.device concrete: "auto" is a GPU where every rank has one that fits
/// and the run computes in a type GPUs have, the CPU otherwise; "cuda" without is refused, with
/// AgreedError. Makes the GPU this process' current one, and pipeline.graphs concrete. Rank 0 says
/// what it became, and why.
RankDevice settle_device(RunConfig& config, Transport& world);

/// precision.tf32 where it cannot do anything, device and precision being concrete: throws
/// UserError (usage) on GPUs that compute in another type; on CPUs, where a run may go on that
/// began on GPUs, the warning to give. Empty: nothing to say.
std::string refuse_idle_tf32(const RunConfig& config);

} // namespace sluice
