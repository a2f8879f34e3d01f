#include "src/train/gpu_carrier.hpp"

#include "core/error.hpp"
#include "pipeline/transport/nccl_requirements.hpp"

#include <fmt/format.h>

namespace sluice {

namespace {

/// NCCL makes two streams for each communicator, to which comes the one for its messages; a process
/// has one to compute, two for messages by way of host memory, one for saves, and CUDA's own.
/// Streams that share a queue may hold up one another, and a message for which another rank must
/// come first would do so for good.
int num_streams(int num_communicators) { return 3 * num_communicators + 5; }

/// What NCCL would have to carry.
struct Demand {
    bool keeps_order = true;
    int num_ends = 0, num_exchanges = 0; ///< communicators of the rank with most
};

/// Empty where what waits for other ranks leaves room for what they wait for.
std::string why_too_much_waits(const CarrierFacts& facts, const Demand& demand)
{
    const int streams = num_streams(demand.num_ends + demand.num_exchanges);
    if (streams > facts.num_queues)
        return fmt::format("{} streams on a GPU would share {} queues "
                           "(CUDA_DEVICE_MAX_CONNECTIONS), in which messages by NCCL may wait for "
                           "one another for good",
                           streams, facts.num_queues);
    const int blocks =
        most_ctas(most_ctas_of_an_edge, facts.nccl_max_ctas) * demand.num_ends +
        most_ctas(most_ctas_of_an_exchange, facts.nccl_max_ctas) * demand.num_exchanges;
    if (2 * blocks > facts.num_multiprocessors)
        return fmt::format("messages by NCCL that wait may hold {} of a GPU's {} multiprocessors",
                           blocks, facts.num_multiprocessors);
    return {};
}

/// Empty where NCCL can be used. Whoever asks for it takes it with too much that may wait, too:
/// most of it does not most of the time.
std::string why_not_nccl(GpuTransport asked, const CarrierFacts& facts, const Demand& demand)
{
    if (!facts.gpus_alone)
        return "ranks share a GPU, or have parts of one (MIG)";
    if (!demand.keeps_order)
        return "the messages of this schedule do not keep the order that NCCL needs";
    if (!facts.why_no_nccl.empty())
        return "NCCL cannot be used (" + facts.why_no_nccl + ")";
    return asked == GpuTransport::nccl ? "" : why_too_much_waits(facts, demand);
}

std::string remedy_for(const CarrierFacts& facts)
{
    if (!facts.gpus_alone)
        return "give each rank a GPU of its own, or write transport = \"mpi\"";
    if (!facts.why_no_nccl.empty())
        return "have one NCCL (2.17 or later) on all nodes, its folder in LD_LIBRARY_PATH and no "
               "variable set that it cannot be used with (`sluice doctor` says what it finds), or "
               "write transport = \"mpi\"";
    return "write transport = \"mpi\"";
}

ChosenCarrier choose_carrier(GpuTransport asked, const CarrierFacts& facts, const Demand& demand)
{
    if (asked == GpuTransport::staged)
        return {GpuCarrier::staged, "by way of host memory and MPI: the run file asks for that"};
    std::string why = asked == GpuTransport::mpi ? "" : why_not_nccl(asked, facts, demand);
    if (asked == GpuTransport::nccl && !why.empty())
        throw usage_error(
            "NCCL cannot carry messages here: " +
                (facts.why_no_nccl.empty() || !facts.gpus_alone ? why : facts.why_no_nccl),
            "pipeline.transport", remedy_for(facts));
    if (asked != GpuTransport::mpi && why.empty())
        return {GpuCarrier::nccl,
                "by NCCL " + facts.nccl_version + ": every rank has a GPU of its own"};
    if (asked == GpuTransport::automatic && !facts.gpus_alone)
        return {GpuCarrier::staged, "by way of host memory and MPI: " + why};
    if (!why.empty())
        why += ", and ";
    if (facts.mpi_takes_gpus)
        return {GpuCarrier::direct,
                "by MPI from where they lie: " + why + "this MPI takes GPUs' memory"};
    return {GpuCarrier::staged,
            "by way of host memory and MPI: " + why + "this MPI does not take GPUs' memory"};
}

} // namespace

std::string why_not_on_all(const std::vector<RankNccl>& of_rank)
{
    bool all_alike = true;
    for (const RankNccl& one : of_rank)
        all_alike = all_alike && one.why_none == of_rank.front().why_none;
    if (all_alike && !of_rank.front().why_none.empty())
        return of_rank.front().why_none;
    for (std::size_t rank = 0; rank < of_rank.size(); ++rank)
        if (!of_rank[rank].why_none.empty())
            return fmt::format("rank {} on {}: {}", rank, of_rank[rank].node,
                               of_rank[rank].why_none);
    const RankNccl& first = of_rank.front();
    for (std::size_t rank = 1; rank < of_rank.size(); ++rank)
        if (of_rank[rank].version != first.version)
            return fmt::format("rank 0 on {} has {}, rank {} on {} {}", first.node, first.version,
                               rank, of_rank[rank].node, of_rank[rank].version);
    return {};
}

ChosenCarriers choose_carriers(GpuTransport asked, const CarrierFacts& facts)
{
    const int exchanges = facts.num_replicas > 1 ? 1 : 0;
    const Demand of_all{facts.keeps_order, facts.num_channel_ends, exchanges};
    ChosenCarriers chosen{
        .chunks = choose_carrier(asked, facts, of_all), .replicas = {}, .warning = {}};
    const bool chunks_by_nccl = chosen.chunks.carrier == GpuCarrier::nccl;
    // Exchanges keep their order by themselves.
    chosen.replicas =
        choose_carrier(asked, facts, {true, chunks_by_nccl ? of_all.num_ends : 0, exchanges});
    if (exchanges > 0 && chosen.replicas.carrier == GpuCarrier::nccl &&
        chosen.chunks.carrier == GpuCarrier::direct)
        // NCCL's user guide on CUDA-aware MPI: used at the same time the two may wait for each
        // other for good.
        chosen.chunks = {GpuCarrier::staged,
                         "by way of host memory and MPI: " + why_not_nccl(asked, facts, of_all) +
                             ", and MPI must not take GPUs' memory beside NCCL"};
    if (asked == GpuTransport::nccl && !why_too_much_waits(facts, of_all).empty())
        chosen.warning = why_too_much_waits(facts, of_all) +
                         ": NCCL is used, as the run file asks for it; should the run hang, take "
                         "fewer chunks per rank or transport = \"mpi\"";
    const std::string why_not = why_not_nccl(asked, facts, of_all);
    if (asked == GpuTransport::automatic && facts.gpus_alone && !why_not.empty())
        chosen.warning = "NCCL, which is the fastest way between GPUs, " +
                         (facts.why_no_nccl.empty() ? "is not used: " + why_not
                                                    : "cannot be used: " + facts.why_no_nccl);
    return chosen;
}

} // namespace sluice
