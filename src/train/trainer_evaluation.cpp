// What a trainer measures beside training: validation loss, and norms of the residual stream.
#include "src/process/stopwatch.hpp"
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

bool Trainer::evaluation_is_due() const
{
    return tokens_->has_validation() &&
           (due(config_.eval.every_updates, completed_updates_) ||
            (config_.eval.every_updates > 0 && completed_updates_ == config_.run.updates));
}

bool Trainer::evaluation_is_missing()
{
    if (!evaluation_is_due())
        return false;
    double missing = journal_ && journal_->lacks_evaluation(completed_updates_) ? 1.0 : 0.0;
    replicas_.world().max({&missing, 1});
    return missing > 0.0;
}

bool Trainer::any_rank_is_to_stop()
{
    double asked = stop_.has_come() ? 1.0 : 0.0;
    replicas_.world().max({&asked, 1});
    return asked > 0.0;
}

void Trainer::evaluate_microbatches(std::int32_t begin, std::int32_t end, std::span<double> losses)
{
    const Schedule forwards =
        make_forward_only(plan_.program.rank_of_chunk, replicas_.ranks_per_replica(), end - begin);
    const SlotTable slots = forward_only_slots(forwards);
    Executor executor(forwards, slots, stage_, replicas_.pipeline(), VerifyTransfers::no);
    executor.run_evaluation(tokens_->evaluation(begin));
    std::copy(executor.losses().begin(), executor.losses().end(), losses.begin() + begin);
}

/// Each replica evaluates its share; the losses add up in the order of the micro-batches, to the
/// same sum for any number of replicas.
std::optional<double> Trainer::evaluation_loss_sum(std::int32_t num_microbatches)
{
    const auto first = static_cast<std::int32_t>(replicas_.share_begin(num_microbatches));
    const auto last = static_cast<std::int32_t>(replicas_.share_end(num_microbatches));
    const std::int32_t largest_share =
        (num_microbatches + replicas_.count() - 1) / replicas_.count();
    // Whoever asks a run to stop waits for about as long as an update takes.
    const std::int32_t at_once = 4 * plan_.program.num_microbatches;
    std::vector<double> losses(static_cast<std::size_t>(num_microbatches), 0.0);
    for (std::int32_t done = 0; done < largest_share; done += at_once) {
        if (any_rank_is_to_stop())
            return std::nullopt;
        const std::int32_t begin = std::min(first + done, last);
        const std::int32_t end = std::min(begin + at_once, last);
        if (begin < end)
            evaluate_microbatches(begin, end, losses);
    }
    replicas_.world().sum(losses);
    return std::accumulate(losses.begin(), losses.end(), 0.0);
}

bool Trainer::evaluate()
{
    enter(RankPhase::evaluating);
    enter(Activity::evaluation);
    evaluating_ = true;
    const Stopwatch watch;
    const std::int32_t num_microbatches = tokens_->num_evaluation_microbatches();
    const auto loss_sum = evaluation_loss_sum(num_microbatches);
    stop_.evaluated(watch.seconds());
    evaluating_ = false;
    evaluation_owed_ = !loss_sum;
    const std::int64_t tokens =
        std::int64_t{num_microbatches} * config_.batch.micro_batch_size * config_.batch.seq_len;
    if (journal_ && loss_sum)
        journal_->evaluated(completed_updates_, *loss_sum / static_cast<double>(tokens), tokens,
                            watch.seconds());
    return loss_sum.has_value();
}

} // namespace sluice
