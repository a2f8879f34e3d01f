// What a trainer saves, and starts from.
#include "core/logging.hpp"
#include "pipeline/agreement.hpp"
#include "src/config/run_key.hpp"
#include "src/plan/checkpoint_space.hpp"
#include "src/process/program_version.hpp"
#include "src/process/stopwatch.hpp"
#include "src/train/ancestry.hpp"
#include "src/train/branch.hpp"
#include "src/train/trainer.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

TimeBudget Trainer::time_budget() const
{
    // Until a save was measured: 100 MB/s, each rank's parameters and two moments.
    return {seconds_until_end(config_.run.time_limit_seconds),
            static_cast<double>(plan_.largest_snapshot_bytes()) * 1e-8};
}

CheckpointProgress Trainer::restore(const std::filesystem::path& folder, bool branch)
{
    CheckpointProgress progress;
    agree(replicas_.world(), [&] {
        const CheckpointReader reader(folder);
        keep_saved_defaults(reader, config_);
        if (branch)
            origin_.changed_recipe = leave_trunk(reader, config_, hardware_);
        else
            refuse_changed_result(reader, config_, hardware_);
        origin_.changed_rounding = changed_rounding(reader, config_, hardware_);
        restore_stage(reader, stage_, replicas_.world().activity());
        progress = reader.progress();
        set_completed_updates(progress.update);
        if (retry_update_ >= 0)
            retry_save_soon(); // from where the run goes on
        saved_update_ = completed_updates_;
    });
    return progress;
}

bool Trainer::is_own(const std::filesystem::path& checkpoint)
{
    bool own = false;
    on_rank_zero(replicas_.world(), [&] {
        own = std::filesystem::equivalent(std::filesystem::absolute(checkpoint).parent_path(),
                                          folder_.checkpoints());
    });
    return on_any_rank(replicas_.world(), own);
}

std::int64_t Trainer::updates_told_here(const std::optional<ChosenCheckpoint>& checkpoint,
                                        bool goes_on_here) const
{
    const auto own = list_checkpoints(folder_.checkpoints());
    // A checkpoint from elsewhere that stands beside others of its history (choose_checkpoint).
    const bool joins = checkpoint && std::ranges::any_of(own, looks_whole);
    if (goes_on_here || joins)
        return completed_updates_;
    if (newest_save_told_of(folder_.checkpoints()) > 0)
        folder_.set_metrics_aside();
    return checkpoint ? -1 : 0;
}

void Trainer::restore_start(const std::filesystem::path& checkpoint, bool branch)
{
    origin_.resumed_from = checkpoint;
    CheckpointProgress progress = restore(checkpoint, branch);
    if (origin_.has_new_recipe())
        progress.recent_losses.clear(); // by which another recipe is not to be judged
    anomalies_.restore(progress);
}

/// On rank 0: what would come out at the first save, which may be far. Returns a warning, or
/// nothing.
std::string Trainer::refuse_unsavable() const
{
    require_writable(folder_.checkpoints());
    if (completed_updates_ >= config_.run.updates)
        return {}; // nothing more is trained
    return refuse_without_space(plan_checkpoint_space(config_, plan_), folder_.checkpoints());
}

CheckpointProgress Trainer::progress() const
{
    CheckpointProgress progress{.update = completed_updates_,
                                .samples = completed_updates_ * config_.batch.global_batch_size,
                                .tokens = completed_updates_ * config_.batch.tokens_per_update(),
                                .seed = config_.run.seed,
                                .program = program_version(),
                                .arithmetic = hardware_.arithmetic};
    anomalies_.save_into(progress);
    return progress;
}

/// Gradients are looked at before they change weights; what AdamW makes of good ones with a
/// learning rate or an eps beyond reason, or a GPU that errs, is not. Nothing of it may replace
/// what was good.
void Trainer::refuse_unusable_weights()
{
    std::string broken;
    for (StageChunk& chunk : stage_.chunks())
        for (const Parameter& parameter : chunk.model->parameters())
            if (broken.empty() &&
                !std::isfinite(chunk.model->sum_of_squares(parameter.owned_weight())))
                broken = parameter.spec.name;
    for (const std::string& name : replicas_.world().gather_text(broken))
        if (!name.empty())
            throw WeightsRefused("weights are not finite after update " +
                                 std::to_string(completed_updates_) + ": " + name +
                                 "; they were not saved, and older checkpoints are as they "
                                 "were. A lower optimizer.lr, or an optimizer.eps not as small?");
}

void Trainer::save()
{
    finish_save();
    const Stopwatch watch;
    enter(RankPhase::saving);
    enter(Activity::checkpoint);
    refuse_unusable_weights();
    on_rank_zero(replicas_.world(), [&] { journal_->sync(); });
    const std::string digest =
        save_checkpoint(folder_.checkpoints(), stage_, replicas_, progress(), config_);
    const double seconds = watch.seconds();
    record_saved({.update = completed_updates_,
                  .parameters_digest = digest,
                  .seconds = seconds,
                  .stall_seconds = seconds,
                  .write_seconds = seconds});
}

bool Trainer::is_saved_or_being_saved() const
{
    return saved_update_ == completed_updates_ ||
           (saver_ && saver_->under_way() && saver_->update() == completed_updates_);
}

bool Trainer::save_is_due() const
{
    return due(config_.checkpoint.every_updates, completed_updates_) ||
           completed_updates_ == retry_update_;
}

void Trainer::save_if_due(bool goes_on)
{
    if (!goes_on)
        save();
    else if (save_is_due() && !attempt([this] { saver_ ? begin_save() : save(); }))
        retry_save_soon();
}

bool Trainer::goes_on_without(const UserError& error) const
{
    return config_.checkpoint.on_failure == WriteFailure::go_on && error.code() == ExitCode::data;
}

bool Trainer::attempt(const std::function<void()>& step)
{
    try {
        step();
        return true;
    } catch (const AgreedError& error) {
        if (!goes_on_without(error))
            throw;
        stop_.saving(false);
        tell([&](RunJournal& journal) {
            journal.not_saved(saver_ ? saver_->update() : completed_updates_, error);
        });
        return false;
    }
}

void Trainer::retry_save_soon()
{
    retry_update_ = completed_updates_ + config_.checkpoint.retry_after();
}

void Trainer::begin_save()
{
    if (saver_->under_way())
        tell([&](RunJournal& journal) {
            journal.waiting_for_save(completed_updates_, saver_->update());
        });
    finish_save();
    enter(RankPhase::saving);
    enter(Activity::checkpoint);
    refuse_unusable_weights();
    saver_->begin(progress());
    retry_update_ = -1;
    stop_.saving(true);
}

void Trainer::follow_save()
{
    enter(RankPhase::saving); // rank 0 writes the status
    enter(Activity::checkpoint);
    const bool went_on = attempt([this] {
        if (const auto saved = saver_->advance())
            record_saved(*saved);
    });
    if (!went_on)
        retry_save_soon();
}

void Trainer::finish_save()
{
    if (!saver_ || !saver_->under_way())
        return;
    enter(RankPhase::saving);
    enter(Activity::checkpoint);
    attempt([this] { record_saved(saver_->finish()); }); // what comes next is a save, or no save
}

void Trainer::finish_save_at_last()
{
    if (!saver_ || !saver_->under_way())
        return;
    enter(RankPhase::saving);
    enter(Activity::checkpoint);
    try {
        record_saved(saver_->finish());
    } catch (const UserError& error) {
        if (replicas_.world().rank() == 0)
            log_warning(error.what()); // what ends the run is the news
    }
}

void Trainer::record_saved(const SavedCheckpoint& saved)
{
    saved_update_ = saved.update;
    retry_update_ = -1;
    stop_.saving(false);
    stop_.saved(saved.write_seconds);
    if (!journal_)
        return;
    journal_->saved(saved);
    if (!told_of_tokens_ && tokens_->train_was_written_to()) {
        told_of_tokens_ = true;
        log_warning(config_.data.train.string() +
                    " has been written to since this run opened it: where its tokens are others "
                    "now, so is the result from some update on");
    }
}

} // namespace sluice
