#include "src/train/gpu_links.hpp"

#include "core/cuda/gpu.hpp"
#include "core/gpu_queues.hpp"
#include "core/host_name.hpp"
#include "core/logging.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/edge_channels.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/transport/nccl_requirements.hpp"
#include "pipeline/transport/stream_waits.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Collective. The same on all ranks.
std::vector<RankNccl> nccl_of_all_ranks(Transport& world)
{
    const std::string why_none = why_no_nccl();
    const auto nodes = world.gather_text(host_name());
    const auto reasons = world.gather_text(why_none);
    const auto versions = world.gather_text(why_none.empty() ? nccl_version() : "");
    std::vector<RankNccl> of_rank;
    for (std::size_t rank = 0; rank < nodes.size(); ++rank)
        of_rank.push_back({nodes[rank], reasons[rank], versions[rank]});
    return of_rank;
}

} // namespace

GpuLinks::GpuLinks(Transport& world, const ComputeStream* compute, bool gpus_alone,
                   int num_replicas)
    : world_(world), compute_(compute), gpus_alone_(gpus_alone), num_replicas_(num_replicas)
{
}

void GpuLinks::choose(GpuTransport asked, const RunPlan& plan)
{
    if (!compute_ || world_.num_ranks() == 1)
        return;
    channels_ = edge_channels(plan.program);
    CarrierFacts facts{.gpus_alone = gpus_alone_,
                       .keeps_order = check_schedule(plan.program, MatchingRule::in_order).good(),
                       .mpi_takes_gpus = least_of_all(world_, mpi_takes_gpu_memory() ? 1 : 0) == 1,
                       .num_replicas = num_replicas_,
                       .num_channel_ends = most_ends(channels_),
                       .num_queues = static_cast<int>(
                           least_of_all(world_, static_cast<std::size_t>(num_queues_on_gpus()))),
                       .num_multiprocessors = num_multiprocessors()};
    if (gpus_alone_ && (asked == GpuTransport::automatic || asked == GpuTransport::nccl)) {
        const std::vector<RankNccl> of_rank = nccl_of_all_ranks(world_);
        facts.why_no_nccl = why_not_on_all(of_rank);
        facts.nccl_version = of_rank.front().version;
        for (const std::string& of_one :
             world_.gather_text(std::to_string(max_ctas_in_this_environment())))
            facts.nccl_max_ctas = std::max(facts.nccl_max_ctas, std::stoi(of_one));
    }
    ChosenCarriers chosen;
    agree(world_, [&] { chosen = choose_carriers(asked, facts); });
    between_chunks_ = chosen.chunks.carrier;
    between_replicas_ = chosen.replicas.carrier;
    if (world_.rank() != 0)
        return;
    if (!chosen.warning.empty())
        log_warning(chosen.warning);
    log_info("messages between GPUs go " + chosen.chunks.in_words);
    if (num_replicas_ > 1 && between_replicas_ != between_chunks_)
        log_info("but those between replicas " + chosen.replicas.in_words);
}

int GpuLinks::num_multiprocessors() const
{
    const int own = gpu_info(compute_->stream().device.index).num_multiprocessors;
    return static_cast<int>(least_of_all(world_, static_cast<std::size_t>(own)));
}

Transport& GpuLinks::connect(const RunPlan& plan)
{
    if (!compute_ || world_.num_ranks() == 1)
        return world_;
    if (between_chunks_ == GpuCarrier::direct) {
        over_mpi_ = make_direct_transport(world_, compute_->stream());
        return *over_mpi_;
    }
    const auto rank = static_cast<std::size_t>(world_.rank()) %
                      static_cast<std::size_t>(plan.program.num_ranks());
    const auto num_messages = static_cast<std::size_t>(plan.slots.num_inbox_slots[rank] +
                                                       plan.slots.num_activation_slots[rank] +
                                                       2 * plan.slots.num_gradient_slots[rank]);
    // Beside NCCL only the collection of a save may come this way, which takes what it needs.
    const bool by_nccl = between_chunks_ == GpuCarrier::nccl;
    over_mpi_ = make_staged_transport(
        world_, compute_->stream(),
        {.count = by_nccl ? 0 : num_messages, .num_bytes = plan.message_bytes()});
    return *over_mpi_;
}

std::string GpuLinks::carrier_name() const
{
    if (world_.num_ranks() == 1)
        return "in-process";
    if (!compute_)
        return "mpi";
    const auto name_of = [](GpuCarrier carrier) -> std::string {
        switch (carrier) {
        case GpuCarrier::nccl: return "nccl";
        case GpuCarrier::direct: return "mpi";
        case GpuCarrier::staged: break;
        }
        return "staged";
    };
    if (num_replicas_ == 1 || between_replicas_ == between_chunks_)
        return name_of(between_chunks_);
    return name_of(between_chunks_) + ", " + name_of(between_replicas_) + " between replicas";
}

Replicas::Links GpuLinks::by_nccl() const
{
    Replicas::Links links;
    if (!compute_)
        return links;
    std::shared_ptr<StreamWaits> waits; // one for all
    if (between_chunks_ == GpuCarrier::nccl || between_replicas_ == GpuCarrier::nccl)
        waits = std::make_shared<StreamWaits>(compute_->stream(), world_.activity());
    if (!channels_.empty() && between_chunks_ == GpuCarrier::nccl)
        links.pipeline = [waits, channels = channels_](Transport& ranks) {
            return make_nccl_transport(ranks, waits, channels);
        };
    if (between_replicas_ == GpuCarrier::nccl)
        links.peers = [waits](Transport& ranks) { return make_nccl_group_transport(ranks, waits); };
    return links;
}

} // namespace sluice
