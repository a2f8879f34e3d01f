// The ways that a run's messages between GPUs take: chosen, said, and opened. Where ranks compute
// on CPUs, or one is alone, messages go by the world's transport and nothing is opened.
#pragma once

#include "core/compute_stream.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/plan/run_plan.hpp"
#include "src/train/gpu_carrier.hpp"

#include <memory>
#include <string>
#include <vector>

namespace sluice {

class GpuLinks {
public:
    /// `compute`: this rank's GPU, nullptr on CPUs. `gpus_alone`: each rank has one of its own.
    /// Both outlive it, as does the world.
    GpuLinks(Transport& world, const ComputeStream* compute, bool gpus_alone, int num_replicas);

    /// Collective. Said by rank 0. Throws AgreedError where what was asked for cannot be.
    void choose(GpuTransport asked, const RunPlan& plan);
    /// Where the trainer's messages go, for as long as this lives.
    Transport& connect(const RunPlan& plan);
    /// Of what was chosen, for metrics: "in-process", "mpi" (from GPUs: from where they lie),
    /// "staged" or "nccl"; both where replicas have another one: "mpi, nccl between replicas".
    std::string carrier_name() const;
    /// Those that NCCL carries.
    Replicas::Links by_nccl() const;

private:
    /// Collective: of the smallest GPU.
    int num_multiprocessors() const;

    Transport& world_;
    const ComputeStream* compute_;
    bool gpus_alone_;
    int num_replicas_;
    GpuCarrier between_chunks_ = GpuCarrier::staged, between_replicas_ = GpuCarrier::staged;
    std::vector<EdgeChannel> channels_;   ///< between chunks on GPUs; none on one rank
    std::unique_ptr<Transport> over_mpi_; ///< where messages come from GPUs
};

} // namespace sluice
