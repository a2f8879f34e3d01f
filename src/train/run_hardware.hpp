// What a run found to compute on, for those who read its log and metrics later, and for a resume
// elsewhere.
#pragma once

#include <string>
#include <vector>

namespace sluice {

/// The same on every rank.
struct RunHardware {
    std::vector<std::string> gpus{}; ///< [num_ranks] names; none on CPUs
    /// Where run.device = "auto" found no GPUs that fit: "rank 1 on n2 has no GPU: ...".
    std::string why_on_cpus{};
    bool precision_was_auto = false; ///< precision.compute, before the device settled it
    /// What carries messages between ranks: "in-process", "mpi", "staged" or "nccl"; two of
    /// them where replicas have another one: "mpi, nccl between replicas".
    std::string transport{};
    /// What rounds the run's numbers (layers/kernels/arithmetic.hpp), of all ranks, each text once.
    std::string arithmetic{};
};

} // namespace sluice
