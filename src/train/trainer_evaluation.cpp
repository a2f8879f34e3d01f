// What a trainer measures beside training: validation loss, and norms of the residual stream.
#include "pipeline/agreement.hpp"
#include "src/process/stopwatch.hpp"
#include "src/train/trainer.hpp"

#include <algorithm>
#include <numeric>

namespace sluice {

namespace {

/// Forwards of some micro-batches through a replica's pipeline.
struct ForwardPasses {
    ForwardPasses(const RunPlan& plan, std::int32_t num_microbatches, Stage& stage,
                  Transport& pipeline)
        : program(make_forward_only(plan.program.rank_of_chunk, plan.program.num_ranks(),
                                    num_microbatches)),
          slots(forward_only_slots(program)),
          executor(program, slots, stage, pipeline, VerifyTransfers::no)
    {
    }
    Schedule program;
    SlotTable slots;
    Executor executor; ///< of the other two
};

} // namespace

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
    tell([&](RunJournal& journal) {
        journal.measured_activation_norms(completed_updates_, norms_);
    });
}

bool Trainer::evaluation_is_due() const
{
    return tokens_->has_validation() &&
           (due(config_.eval.every_updates, completed_updates_) ||
            (config_.eval.every_updates > 0 && completed_updates_ == config_.run.updates));
}

bool Trainer::evaluation_is_missing()
{
    return evaluation_is_due() &&
           on_any_rank(replicas_.world(),
                       journal_ && journal_->lacks_evaluation(completed_updates_));
}

TokenSource& Trainer::read_evaluation(std::int64_t first_microbatch, std::int32_t count)
{
    TokenHalves needed{.inputs = false, .targets = false};
    for (const StageChunk& chunk : stage_.chunks()) {
        needed.inputs = needed.inputs || chunk.model->options().range.embedding;
        needed.targets = needed.targets || chunk.model->options().range.head;
    }
    TokenSource* tokens = nullptr;
    agree(replicas_.world(), [&] {
        const AtFiles reading(replicas_.world().activity());
        tokens = &tokens_->evaluation_ahead(first_microbatch, count, needed);
    });
    return *tokens;
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
    std::optional<ForwardPasses> passes;
    for (std::int32_t done = 0; done < largest_share; done += at_once) {
        if (any_asked_to_stop())
            return std::nullopt;
        const std::int32_t begin = std::min(first + done, last);
        const std::int32_t end = std::min(begin + at_once, last);
        TokenSource& tokens = read_evaluation(begin, end - begin);
        if (begin == end)
            continue; // this replica has one less than others
        if (!passes || passes->program.num_microbatches != end - begin) // the last are fewer
            passes.emplace(plan_, end - begin, stage_, replicas_.pipeline());
        passes->executor.run_evaluation(tokens);
        std::ranges::copy(passes->executor.losses(), losses.begin() + begin);
    }
    replicas_.world().sum(losses);
    return std::accumulate(losses.begin(), losses.end(), 0.0);
}

bool Trainer::evaluate()
{
    const Stopwatch watch;
    enter(RankPhase::evaluating);
    enter(Activity::evaluation);
    evaluating_ = true;
    const auto end = [&] {
        stop_.evaluated(watch.seconds());
        evaluating_ = false;
    };
    try {
        const std::int32_t num_microbatches = tokens_->num_evaluation_microbatches();
        const auto loss_sum = evaluation_loss_sum(num_microbatches);
        end();
        const std::int64_t tokens =
            std::int64_t{num_microbatches} * config_.batch.micro_batch_size * config_.batch.seq_len;
        if (loss_sum)
            tell([&](RunJournal& journal) {
                journal.evaluated(completed_updates_, *loss_sum / static_cast<double>(tokens),
                                  tokens, watch.seconds());
            });
        return loss_sum.has_value();
    } catch (const AgreedError& error) {
        end();
        if (!goes_on_without(error))
            throw;
        tell([&](RunJournal& journal) { journal.not_evaluated(completed_updates_, error); });
        return true;
    }
}

} // namespace sluice
