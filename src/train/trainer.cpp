#include "src/train/trainer.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/agreement.hpp"
#include "src/plan/gates_within_run.hpp"
#include "src/process/started_ranks.hpp"
#include "src/process/stopwatch.hpp"
#include "src/text/number_text.hpp"
#include "src/train/lr_schedule.hpp"
#include "src/train/optimizer.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace sluice {

namespace {

StageOptions on_rank(StageOptions options, const Replicas& replicas)
{
    options.rank = replicas.pipeline().rank();
    options.moments.index = replicas.index();
    return options;
}

VerifyTransfers verified(const RunConfig& config)
{
    return config.pipeline.verify_transfers ? VerifyTransfers::yes : VerifyTransfers::no;
}

} // namespace

Trainer::Trainer(const RunConfig& config, RunPlan plan, RunFolder& folder, const Replicas& replicas)
    : config_(config), folder_(folder), replicas_(replicas), plan_(std::move(plan)),
      stage_(on_rank(plan_.stage, replicas_), plan_.program, plan_.slots, plan_.partition),
      executor_(plan_.program, plan_.slots, stage_, replicas_.pipeline(), verified(config)),
      exchange_(stage_, replicas_.peers(), verified(config)),
      reduction_(config.model, plan_.program, plan_.partition, replicas_, stage_, verified(config)),
      slow_ranks_(plan_.program, plan_.partition, replicas_),
      anomalies_(config.anomaly, config.batch.global_batch_size),
      all_alphas_(static_cast<std::size_t>(config.model.num_layers)),
      norms_(static_cast<std::size_t>(config.model.num_layers))
{
    if (exchange_.active())
        executor_.exchange_through(exchange_);
    if (config_.anomaly.repeat_every > 0)
        repeat_check_.emplace(stage_);
    if (config_.checkpoint.asynchronous == Switch::on)
        saver_ = std::make_unique<AsynchronousSave>(folder_.checkpoints(), stage_, replicas_,
                                                    config_, [this] { journal_->sync(); });
    open_trace();
}

Trainer::~Trainer() { drain(stage_.stream()); }

std::string Trainer::where() const
{
    if (evaluating_)
        return "evaluation after update " + std::to_string(completed_updates_);
    const std::string update = "update " + std::to_string(completed_updates_ + 1) + ", ";
    const std::string replica =
        replicas_.count() > 1 ? "replica " + std::to_string(replicas_.index()) + ", " : "";
    return update + replica + executor_.where();
}

void Trainer::open_data()
{
    agree(replicas_.world(), [&] {
        tokens_ = std::make_unique<TokenStream>(config_);
        const std::string& found = tokens_->train_info().checksum;
        if (!config_.data.train_checksum.empty() && config_.data.train_checksum != found)
            throw data_error("the tokens are not those that data.train_checksum names: " + found,
                             config_.data.train.string(),
                             "use the file the run was started with, or remove the key");
        config_.data.train_checksum = found;
    });
}

void Trainer::say_data() const
{
    const auto sequences = static_cast<double>(tokens_->num_train_sequences());
    const bool branch = origin_.has_new_recipe();
    const std::int64_t updates = config_.run.updates - (branch ? completed_updates_ : 0);
    log_info(
        fmt::format("{} sequences to train on, which the {} goes through {:.3g} times",
                    count_text(sequences), branch ? "branch" : "run",
                    static_cast<double>(updates * config_.batch.global_batch_size) / sequences));
    if (tokens_->validates_what_it_trains_on())
        log_warning("data.validation has the tokens of data.train: the validation loss will say "
                    "nothing of other text");
}

void Trainer::set_completed_updates(std::int64_t number)
{
    completed_updates_ = number;
    if (RankActivity* activity = replicas_.world().activity())
        activity->publish_completed_updates(number);
}

void Trainer::enter(RankPhase phase)
{
    if (RankActivity* activity = replicas_.world().activity())
        activity->enter(phase);
}

void Trainer::enter(Activity activity)
{
    leave_actions(recorder_, replicas_.world().activity(), activity);
}

void Trainer::start(const ResumeRequest& resume, const RunHardware& hardware)
{
    hardware_ = hardware;
    open_data();
    const auto checkpoint = choose_checkpoint(folder_.checkpoints(), resume, replicas_.world());
    const bool goes_on_here = checkpoint && is_own(checkpoint->path);
    if (checkpoint)
        restore_start(checkpoint->path, checkpoint->branch && !goes_on_here);
    else
        for (StageChunk& chunk : stage_.chunks())
            chunk.model->initialize(config_.run.seed);
    agree(replicas_.world(), [&] {
        executor_.rehearse();
        if (repeat_check_) // its kernels, too, before the first message
            repeat_check_->remember();
    });
    on_rank_zero(replicas_.world(), [&] {
        // What a save or a deletion that died has left takes space, and the next save may be far.
        delete_old_checkpoints(folder_.checkpoints(), {});
        const std::string short_of_space = refuse_unsavable();
        folder_.write_config(resolved_toml(config_));
        journal_ = std::make_unique<RunJournal>(config_, folder_,
                                                updates_told_here(checkpoint, goes_on_here));
        stop_ = StopRequest(folder_.stop_file(), time_budget(),
                            started_by_launch_ranks() ? folder_.signal_file()
                                                      : std::filesystem::path());
        journal_->started(completed_updates_, plan_, replicas_, hardware_, origin_);
        say_data();
        if (!short_of_space.empty())
            log_warning(short_of_space);
        if (const std::string warning = gates_that_stay_behind(config_);
            (!checkpoint || origin_.has_new_recipe()) && !warning.empty())
            log_warning(warning);
    });
    if (!goes_on_here)
        saved_update_ = -1; // what was restored may go with another run's folder
    if (!goes_on_here && config_.anomaly.reach_back() > 0)
        save(); // so that there is always something to go back to
}

ExitCode Trainer::run(std::int64_t stop_after, const FaultInjection& fault)
{
    try {
        return run_updates(stop_after, fault);
    } catch (const std::exception& error) {
        // What is being saved was good, and can be completed where all ranks know that they end.
        const bool all_know = dynamic_cast<const AgreedError*>(&error) != nullptr ||
                              dynamic_cast<const UpdateRefused*>(&error) != nullptr ||
                              (dynamic_cast<const UserError*>(&error) != nullptr &&
                               replicas_.world().num_ranks() == 1);
        if (all_know && !folder_.was_taken())
            finish_save_at_last();
        throw;
    }
}

ExitCode Trainer::run_updates(std::int64_t stop_after, const FaultInjection& fault)
{
    const std::int64_t last = stop_after > 0
                                  ? std::min(config_.run.updates, completed_updates_ + stop_after)
                                  : config_.run.updates;
    evaluation_owed_ = evaluation_is_missing() && !evaluate();
    bool stopping = evaluation_owed_;
    while (completed_updates_ < last && !stopping) {
        if (tracer_)
            begin_trace();
        const auto summary = run_update_or_go_back(fault);
        if (!summary)
            continue;
        stopping = summary->stop_requested;
        if (saver_ && saver_->under_way() && !summary->saving)
            follow_save();
        // First what could be lost.
        save_if_due(completed_updates_ < last && !stopping);
        // Whoever asked while training stood still for a save needs no update more.
        if (!stopping && completed_updates_ < last && is_saved_or_being_saved())
            stopping = any_asked_to_stop();
        if (evaluation_is_due()) {
            evaluation_owed_ = stopping || !evaluate();
            stopping = evaluation_owed_;
        }
        if (tracer_)
            end_trace(completed_updates_ >= last || stopping);
    }
    finish_save();
    if (saved_update_ != completed_updates_)
        save();
    if (fault.kind != FaultInjection::Kind::none && !fault_met_ && replicas_.world().rank() == 0)
        log_warning("--inject: none of the updates done here was the one to break; nothing was "
                    "broken");
    return end(stopping);
}

std::int64_t Trainer::first_microbatch() const
{
    return replicas_.share_begin(config_.batch.num_microbatches());
}

void Trainer::compute_gradients(std::int64_t batch, const FaultInjection& fault)
{
    stage_.zero_gradients();
    if (!fault_met_ && fault.meets(batch))
        tell([&](RunJournal& journal) { journal.injects(completed_updates_ + 1, fault.text); });
    fault_met_ = fault_met_ || fault.meets(batch);
    inject(fault, batch, replicas_.index(), stage_, executor_, exchange_);
    FaultyTokens tokens(tokens_->training(batch, first_microbatch()), fault, batch,
                        replicas_.index(), config_.model.vocab_size);
    executor_.run_update(tokens, 1.0 / static_cast<double>(config_.batch.tokens_per_update()));
    enter(exchange_.active() ? Activity::replicas : Activity::optimizer);
    exchange_.finish();
}

UpdateSummary Trainer::run_update(const FaultInjection& fault)
{
    const Stopwatch watch;
    const std::int64_t update = completed_updates_ + 1;
    const std::int64_t tokens_per_update = config_.batch.tokens_per_update();
    if (RankActivity* activity = replicas_.world().activity())
        activity->begin_update(update);
    if (recorder_ != nullptr)
        recorder_->begin_update(update);
    const bool measured =
        due(config_.metrics.activation_norm_every, update) && ran_last_microbatch();
    for (StageChunk& chunk : stage_.chunks())
        chunk.model->set_activation_norms(measured ? ActivationNorms::measured
                                                   : ActivationNorms::ignored);
    const std::int64_t batch = anomalies_.batch_of(update);
    compute_gradients(batch, fault);
    std::int64_t unrepeated_parameter = -1;
    // A traced update shows each action once.
    if (recorder_ == nullptr && due(config_.anomaly.repeat_every, update)) {
        repeat_check_->remember();
        compute_gradients(batch, {});
        unrepeated_parameter = repeat_check_->first_difference();
    }
    enter(Activity::optimizer);
    stop_.update_passed();
    const bool stop_here = asked_to_stop();
    const UpdateSummary summary = reduction_.reduce({.stage = stage_,
                                                     .executor = executor_,
                                                     .exchange = exchange_,
                                                     .completed_updates = completed_updates_,
                                                     .stop_here = stop_here,
                                                     .unrepeated_parameter = unrepeated_parameter,
                                                     .saving_here = saver_ && saver_->writes_here(),
                                                     .recorder = recorder_},
                                                    tokens_per_update);
    refuse_spike(summary.loss);
    stage_.make_graphs_ready(); // all messages of this update have come
    const double lr = learning_rate(config_.lr_schedule, config_.optimizer.lr, config_.run.updates,
                                    completed_updates_);
    if (saver_)
        saver_->before_changes();
    adamw_step(stage_, config_.optimizer, lr, summary.grad_norm, update);
    if (exchange_.active())
        enter(Activity::replicas);
    exchange_.gather_weights();
    enter(Activity::other);
    for (std::int64_t layer = 0; layer < config_.model.num_layers; ++layer)
        all_alphas_[static_cast<std::size_t>(layer)] =
            residual_alpha(config_.prores.schedule, config_.prores.warmup_steps,
                           config_.model.num_layers, layer + 1, completed_updates_);
    stage_.advance_gates();
    if (recorder_ != nullptr)
        recorder_->end_update();
    anomalies_.accept(summary.loss);
    set_completed_updates(update);
    if (RankActivity* activity = replicas_.world().activity())
        activity->finish_update(watch.seconds());
    record_update(summary, lr, watch.seconds());
    return summary;
}

bool Trainer::asked_to_stop()
{
    const AtFiles looking(replicas_.world().activity());
    return stop_.has_come();
}

bool Trainer::any_asked_to_stop() { return on_any_rank(replicas_.world(), asked_to_stop()); }

void Trainer::record_update(const UpdateSummary& summary, double lr, double seconds)
{
    std::string digest;
    if (config_.metrics.digest_every_update)
        digest = parameters_digest(stage_, replicas_);
    tell([&](RunJournal& journal) {
        journal.updated({.number = completed_updates_,
                         .batch = anomalies_.batch_of(completed_updates_),
                         .summary = summary,
                         .lr = lr,
                         .seconds = seconds,
                         .alphas = all_alphas_,
                         .parameters_digest = digest});
        for (const SlowRank& rank : slow_ranks_.observe(summary.compute_seconds, all_alphas_))
            journal.changed_pace(completed_updates_, rank);
    });
    if (due(config_.metrics.activation_norm_every, completed_updates_))
        record_activation_norms();
}

} // namespace sluice
