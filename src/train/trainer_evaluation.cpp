// What a trainer measures beside training: validation loss, and norms of the residual stream.
#include "src/train/stopwatch.hpp"
#include "src/train/trainer.hpp"

#include <algorithm>
#include <numeric>

namespace sluice {

void Trainer::record_activation_norms()
{
    std::fill(norms_.begin(), norms_.end(), 0.0);
    for (StageChunk& chunk : stage_.chunks()) {
        if (!ran_last_microbatch())
            continue;
        const LayerRange& range = chunk.model->options().range;
        chunk.model->activation_norms(std::span(norms_).subspan(
            static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.num_layers())));
    }
    replicas_.world().sum(norms_);
    if (journal_)
        journal_->measured_activation_norms(completed_updates_, norms_);
}

/// Each replica evaluates its share; the losses add up in the order of the micro-batches, to the
/// same sum for any number of replicas.
double Trainer::evaluation_loss_sum(std::int32_t num_microbatches)
{
    const auto first = static_cast<std::int32_t>(replicas_.share_begin(num_microbatches));
    const auto last = static_cast<std::int32_t>(replicas_.share_end(num_microbatches));
    std::vector<double> losses(static_cast<std::size_t>(num_microbatches), 0.0);
    if (first < last) {
        const Schedule forwards = make_forward_only(plan_.program.rank_of_chunk,
                                                    replicas_.ranks_per_replica(), last - first);
        const SlotTable slots = forward_only_slots(forwards);
        Executor executor(forwards, slots, stage_, replicas_.pipeline(), VerifyTransfers::no);
        executor.run_evaluation(tokens_->evaluation(first));
        std::copy(executor.losses().begin(), executor.losses().end(), losses.begin() + first);
    }
    replicas_.world().sum(losses);
    return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void Trainer::evaluate()
{
    if (!tokens_->has_validation())
        return;
    enter(RankPhase::evaluating);
    enter(Activity::evaluation);
    const Stopwatch watch;
    const std::int32_t num_microbatches = tokens_->num_evaluation_microbatches();
    const double loss_sum = evaluation_loss_sum(num_microbatches);
    const std::int64_t tokens =
        std::int64_t{num_microbatches} * config_.batch.micro_batch_size * config_.batch.seq_len;
    if (journal_)
        journal_->evaluated(completed_updates_, loss_sum / static_cast<double>(tokens), tokens,
                            watch.seconds());
}

} // namespace sluice
