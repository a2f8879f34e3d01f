// What a run writes and says of itself: metrics, log, status file and progress line. Rank 0 keeps
// it.
#pragma once

#include "core/error.hpp"
#include "io/metrics_file.hpp"
#include "pipeline/replicas.hpp"
#include "src/config/run_config.hpp"
#include "src/plan/run_plan.hpp"
#include "src/trace/run_tracer.hpp"
#include "src/train/anomaly_guard.hpp"
#include "src/train/asynchronous_save.hpp"
#include "src/train/run_folder.hpp"
#include "src/train/run_hardware.hpp"
#include "src/train/slow_ranks.hpp"
#include "src/train/training_progress.hpp"
#include "src/train/update_reduction.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

class RunJournal {
public:
    /// Opens the log and the metrics, which lose what they say beyond `completed_updates`, and sets
    /// the status to running. `config` and `folder` outlive the journal. Throws UserError (data),
    /// as everything here does when a file cannot be written, unless checkpoint.on_failure lets the
    /// run go on: then that is a warning, until the run's end.
    RunJournal(const RunConfig& config, RunFolder& folder, std::int64_t completed_updates);

    /// What a run goes on from; nothing where it begins.
    struct Origin {
        std::optional<std::filesystem::path> resumed_from{};
        /// What makes it round in another order from there on, to be warned of.
        std::vector<std::string> changed_rounding{};
        std::vector<std::string> changed_recipe{}; ///< of a branch
        bool has_new_recipe() const { return !changed_recipe.empty(); }
    };
    /// `plan`: of one replica.
    void started(std::int64_t completed_updates, const RunPlan& plan, const Replicas& replicas,
                 const RunHardware& hardware, const Origin& origin);

    struct Update {
        std::int64_t number = 0; ///< counted from 1
        std::int64_t batch = 0;  ///< it trained on, counted from 1
        UpdateSummary summary;
        double lr = 0.0;                ///< that the update used
        double seconds = 0.0;           ///< it took
        std::span<const double> alphas; ///< [num_layers], that the update used
        std::string parameters_digest;  ///< after it; empty where none is asked for
    };
    void updated(const Update& update);
    /// `rms`: [num_layers].
    void measured_activation_norms(std::int64_t update, const std::vector<double>& rms);
    /// `loss`: mean over `tokens`.
    void evaluated(std::int64_t update, double loss, std::int64_t tokens, double seconds);
    /// Whether an earlier process did this update, but ended before it was evaluated.
    bool lacks_evaluation(std::int64_t update) const
    {
        return metrics_.has("update", update) && !metrics_.has("eval", update);
    }
    void traced(const WrittenTrace& written);
    /// The data of an evaluation could not be read, and the run goes on.
    void not_evaluated(std::int64_t update, const UserError& error);
    /// The trace that ends with `update` could not be written, and the run goes on.
    void not_traced(std::int64_t update, const UserError& error);
    /// `update` is the first that meets `fault`, which was asked for.
    void injects(std::int64_t update, const std::string& fault);
    /// An anomaly that the run stops for, or warns of.
    void met(const AnomalyVerdict& verdict);
    /// The run has gone back to `completed_updates` for an anomaly. What the metrics say of later
    /// updates is removed.
    void went_back(const AnomalyVerdict& verdict, std::int64_t completed_updates);
    /// After `update`: a rank has become slow, or has recovered.
    void changed_pace(std::int64_t update, const SlowRank& rank);
    void saved(const SavedCheckpoint& saved);
    /// The save of `update` has failed, and the run goes on.
    void not_saved(std::int64_t update, const UserError& error);
    /// A save of `update` is due while `earlier` is still being written.
    void waiting_for_save(std::int64_t update, std::int64_t earlier);

    struct End {
        std::int64_t update = 0; ///< completed
        bool finished = false;   ///< or stopped
        std::string reason;
    };
    /// Into metrics and status. `peak_resident_bytes`: [num_ranks]; `peak_device_bytes` likewise,
    /// of each rank's GPU; empty on CPUs.
    void ended(const End& end, const std::vector<double>& peak_resident_bytes,
               const std::vector<double>& peak_device_bytes = {});
    /// The last words to people, once the run's folder is ready for the next start.
    static void say_ended(const End& end);

    /// Puts the metrics on disk, before a checkpoint is declared complete; on any thread.
    void sync() { metrics_.sync(); }

private:
    /// Unless another run has the folder.
    void write(std::string_view event, std::span<const MetricField> fields);
    void not_done(std::string_view event, std::int64_t update, std::string_view what,
                  const UserError& error);
    /// Lines of metrics wait, or wait no longer: said once.
    void tell_of_waiting_lines();
    void attempt(const std::function<void()>& work); ///< a refusal of files may be a warning
    std::vector<std::int64_t> samples_of(const BatchRange& batches) const;
    void put_files_back();

    const RunConfig& config_;
    RunFolder& folder_;
    MetricsFile metrics_;
    TrainingProgress progress_;
    bool lines_wait_ = false;
};

} // namespace sluice
