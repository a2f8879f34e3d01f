// The training loop of one rank.
#pragma once

#include "pipeline/executor.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/config/run_config.hpp"
#include "src/plan/run_plan.hpp"
#include "src/trace/run_tracer.hpp"
#include "src/train/anomaly_guard.hpp"
#include "src/train/asynchronous_save.hpp"
#include "src/train/checkpointing.hpp"
#include "src/train/fault_injection.hpp"
#include "src/train/repeat_check.hpp"
#include "src/train/resume.hpp"
#include "src/train/run_folder.hpp"
#include "src/train/run_hardware.hpp"
#include "src/train/run_journal.hpp"
#include "src/train/slow_ranks.hpp"
#include "src/train/stop_request.hpp"
#include "src/train/token_stream.hpp"
#include "src/train/update_reduction.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace sluice {

class Trainer {
public:
    /// Collective over all ranks of the job, which `replicas` joins.
    /// `plan`: of `config` on the ranks of one replica.
    Trainer(const RunConfig& config, RunPlan plan, RunFolder& folder, const Replicas& replicas);
    /// Waits for the work that it has queued on a GPU.
    ~Trainer();
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;

    /// Collective. Restores the chosen checkpoint, if any, and opens the run's files.
    void start(const ResumeRequest& resume, const RunHardware& hardware);
    /// Collective. Trains until the last update or a request to stop. `stop_after`: updates to do
    /// in this process at most (0: all). Returns `finished` or `stopped`.
    ExitCode run(std::int64_t stop_after, const FaultInjection& fault);

    std::int64_t completed_updates() const { return completed_updates_; }
    /// What this rank is doing, in words, for the message when something breaks.
    std::string where() const;

private:
    void open_data();
    void say_data() const; ///< on rank 0
    void set_completed_updates(std::int64_t number);
    TimeBudget time_budget() const;
    /// Collective. Whether it lies in this run's folder.
    bool is_own(const std::filesystem::path& checkpoint);
    /// On rank 0, at the start: up to which update the metrics in this folder are of what led to
    /// where the run begins; -1: none are, as where that is another run's checkpoint. Metrics of
    /// saves that are gone are set aside.
    std::int64_t updates_told_here(const std::optional<ChosenCheckpoint>& checkpoint,
                                   bool goes_on_here) const;
    /// Collective, at the start; as restore().
    void restore_start(const std::filesystem::path& checkpoint, bool branch);
    /// `branch`: the run file's recipe may be another one.
    CheckpointProgress restore(const std::filesystem::path& folder, bool branch);
    /// Nothing where an anomaly made the run go back (trainer_rewind.cpp).
    std::optional<UpdateSummary> run_update_or_go_back(const FaultInjection& fault);
    void go_back(const AnomalyVerdict& verdict);
    void refuse_spike(double loss); ///< or warn of it, or find none
    ExitCode run_updates(std::int64_t stop_after, const FaultInjection& fault);
    UpdateSummary run_update(const FaultInjection& fault);
    void compute_gradients(std::int64_t batch, const FaultInjection& fault);
    ExitCode end(bool stopping);
    void say_graphs() const;
    void open_trace(); ///< where the run file asks for traces
    void begin_trace();
    void end_trace(bool last);
    void enter(Activity activity); ///< for the trace and the watch: outside the executor
    bool asked_to_stop();
    bool any_asked_to_stop(); ///< collective
    /// say(RunJournal&) on the rank that has one, for as long as its files take.
    template <class Say>
    void tell(const Say& say)
    {
        if (!journal_)
            return;
        const AtFiles writing(replicas_.world().activity());
        say(*journal_);
    }
    void enter(RankPhase phase); ///< for the watch
    void record_update(const UpdateSummary& summary, double lr, double seconds);
    void record_activation_norms();
    static bool due(std::int64_t every, std::int64_t update)
    {
        return every > 0 && update % every == 0;
    }
    /// Whether one follows the update that is completed.
    bool evaluation_is_due() const;
    /// Collective. Whether a process that did this update ended before it was evaluated.
    bool evaluation_is_missing();
    /// Collective. False where a request to stop has broken it off. Data that cannot be read are
    /// only told where the run goes_on_without() them.
    bool evaluate();
    std::optional<double> evaluation_loss_sum(std::int32_t num_microbatches);
    /// Collective. Throws AgreedError where a rank cannot read its part.
    TokenSource& read_evaluation(std::int64_t first_microbatch, std::int32_t count);
    void save_if_due(bool goes_on);
    bool save_is_due() const;
    bool is_saved_or_being_saved() const; ///< the last complete update
    /// Whether the run file lets training go on where files could not be written or read.
    bool goes_on_without(const UserError& error) const;
    /// A step of a save that the run can do without: where it goes_on_without(), that is only told.
    /// False then, on all ranks.
    bool attempt(const std::function<void()>& step);
    void retry_save_soon();
    /// Collective, while no save is under way. Throws WeightsRefused on every rank where one has
    /// weights that are not finite.
    void refuse_unusable_weights();
    std::string refuse_unsavable() const;
    /// Waits for a save that is under way, and saves.
    void save();
    void begin_save();          ///< training goes on while it is written
    void follow_save();         ///< no rank writes: goes on with the save under way
    void finish_save();         ///< waits for the save under way, if there is one
    void finish_save_at_last(); ///< likewise, where the run ends by something that is the news
    void record_saved(const SavedCheckpoint& saved);
    CheckpointProgress progress() const;
    std::int64_t first_microbatch() const;
    /// This rank's replica runs the last micro-batch of the global batch.
    bool ran_last_microbatch() const { return replicas_.index() == replicas_.count() - 1; }

    RunConfig config_;
    RunHardware hardware_;
    RunFolder& folder_;
    const Replicas& replicas_;
    RunPlan plan_; ///< of one replica
    Stage stage_;
    Executor executor_;
    GradientExchange exchange_;
    UpdateReduction reduction_;
    SlowRanks slow_ranks_;
    AnomalyGuard anomalies_;
    std::optional<RepeatCheck> repeat_check_; ///< where the run file asks for it
    StopRequest stop_;
    std::unique_ptr<TokenStream> tokens_;
    std::unique_ptr<RunTracer> tracer_;       ///< where the run file asks for traces
    ActionRecorder* recorder_ = nullptr;      ///< while an update is traced
    std::unique_ptr<RunJournal> journal_;     ///< rank 0
    std::unique_ptr<AsynchronousSave> saver_; ///< where saves are asynchronous
    std::vector<double> all_alphas_, norms_;  ///< [num_layers]
    RunJournal::Origin origin_;
    std::int64_t completed_updates_ = 0;
    std::int64_t saved_update_ = -1;
    std::int64_t retry_update_ = -1; ///< when a save that failed is tried again
    bool evaluating_ = false;
    bool told_of_tokens_ = false;  ///< that they were written to
    bool evaluation_owed_ = false; ///< one was due, and a request to stop came before or within
    bool fault_met_ = false;       ///< an update was one that a fault was asked for
};

} // namespace sluice
