#include "src/train/gpu_carrier.hpp"

#include "core/error.hpp"

namespace sluice {

namespace {

/// Empty where NCCL can be used.
std::string why_not_nccl(const CarrierFacts& facts)
{
    if (!facts.gpus_alone)
        return "ranks share a GPU";
    if (!facts.keeps_order)
        return "the messages of this schedule do not keep the order that NCCL needs";
    return facts.has_nccl ? "" : "this build has no NCCL";
}

} // namespace

ChosenCarrier choose_carrier(GpuTransport asked, const CarrierFacts& facts)
{
    if (asked == GpuTransport::staged)
        return {GpuCarrier::staged, "by way of host memory and MPI: the run file asks for that"};
    std::string why = asked == GpuTransport::mpi ? "" : why_not_nccl(facts);
    if (asked == GpuTransport::nccl && !why.empty())
        throw usage_error("NCCL cannot carry messages here: " + why, "pipeline.transport",
                          facts.gpus_alone ? "write transport = \"mpi\""
                                           : "give each rank a GPU of its own, or write transport "
                                             "= \"mpi\"");
    if (asked != GpuTransport::mpi && why.empty())
        return {GpuCarrier::nccl, "by NCCL: every rank has a GPU of its own"};
    if (!why.empty())
        why += ", and ";
    if (facts.mpi_takes_gpus)
        return {GpuCarrier::direct,
                "by MPI from where they lie: " + why + "this MPI takes GPUs' memory"};
    return {GpuCarrier::staged,
            "by way of host memory and MPI: " + why + "this MPI does not take GPUs' memory"};
}

} // namespace sluice
