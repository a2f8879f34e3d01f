#include "src/train/gpu_links.hpp"

#include "core/logging.hpp"
#include "pipeline/edge_channels.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "src/train/agreement.hpp"

namespace sluice {

GpuLinks::GpuLinks(Transport& world, const ComputeStream* compute, bool gpus_alone,
                   int num_replicas)
    : world_(world), compute_(compute), gpus_alone_(gpus_alone), num_replicas_(num_replicas)
{
}

void GpuLinks::choose(GpuTransport asked, const RunPlan& plan)
{
    if (!compute_ || world_.num_ranks() == 1)
        return;
    double some_mpi_does_not = mpi_takes_gpu_memory() ? 0.0 : 1.0;
    world_.max({&some_mpi_does_not, 1});
    CarrierFacts facts{.gpus_alone = gpus_alone_,
                       .keeps_order = check_schedule(plan.program, MatchingRule::in_order).good(),
                       .has_nccl = nccl_is_compiled_in(),
                       .mpi_takes_gpus = some_mpi_does_not == 0.0};
    ChosenCarrier chunks, replicas;
    agree(world_, [&] {
        chunks = choose_carrier(asked, facts);
        facts.keeps_order = true; // as exchanges of replicas do by themselves
        replicas = choose_carrier(asked, facts);
    });
    between_chunks_ = chunks.carrier;
    between_replicas_ = replicas.carrier;
    if (world_.rank() != 0)
        return;
    log_info("messages between GPUs go " + chunks.in_words);
    if (num_replicas_ > 1 && replicas.carrier != chunks.carrier)
        log_info("but those between replicas " + replicas.in_words);
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
    over_mpi_ = make_staged_transport(world_, compute_->stream(),
                                      {.count = num_messages, .num_bytes = plan.message_bytes()});
    return *over_mpi_;
}

Replicas::Links GpuLinks::by_nccl(const RunPlan& plan) const
{
    Replicas::Links links;
    if (!compute_)
        return links;
    if (plan.program.num_ranks() > 1 && between_chunks_ == GpuCarrier::nccl)
        links.pipeline = [stream = compute_->stream(),
                          channels = edge_channels(plan.program)](Transport& ranks) {
            return make_nccl_transport(ranks, stream, channels);
        };
    if (between_replicas_ == GpuCarrier::nccl)
        links.peers = [stream = compute_->stream()](Transport& ranks) {
            return make_nccl_group_transport(ranks, stream);
        };
    return links;
}

} // namespace sluice
