// What carries messages between the memories of GPUs: chosen once, by all ranks alike.
#pragma once

#include "src/config/run_config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

enum class GpuCarrier : std::uint8_t {
    nccl,   ///< from GPU to GPU
    direct, ///< MPI, from where they lie (CUDA-aware)
    staged, ///< MPI, by way of locked host memory
};

/// What there is to NCCL on a rank.
struct RankNccl {
    std::string node{}, why_none{};
    std::string version{}; ///< where there is one
};
/// "rank 1 on n2: cannot load libnccl.so.2"; empty where all ranks have the same one.
std::string why_not_on_all(const std::vector<RankNccl>& of_rank);

/// The same on every rank.
struct CarrierFacts {
    bool gpus_alone = false;     ///< every rank has one of its own
    bool keeps_order = false;    ///< messages between chunks match in the order of the calls
    std::string why_no_nccl{};   ///< where a rank has none, or another one
    std::string nccl_version{};  ///< where all have one
    bool mpi_takes_gpus = false; ///< CUDA-aware
    int num_replicas = 1;
    int num_channel_ends = 0;      ///< ways between chunks that begin or end at the rank with most
    int num_queues = 32;           ///< of a process to its GPU
    int nccl_max_ctas = 0;         ///< NCCL_MAX_CTAS on the rank with most; 0: not set
    int num_multiprocessors = 108; ///< of the smallest GPU; an A100's
};

struct ChosenCarrier {
    GpuCarrier carrier = GpuCarrier::staged;
    std::string in_words; ///< "by NCCL 2.28.9: every rank has a GPU of its own"
};
struct ChosenCarriers {
    ChosenCarrier chunks, replicas;
    std::string warning; ///< or empty
};

/// Throws UserError (usage) when the run file asks for NCCL where it cannot be used.
ChosenCarriers choose_carriers(GpuTransport asked, const CarrierFacts& facts);

} // namespace sluice
