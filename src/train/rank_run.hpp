// One rank of a training run, from its folder to its exit code: the place where failures become
// messages, status.json and exit codes.
#pragma once

#include "core/compute_stream.hpp"
#include "pipeline/rank_activity.hpp"
#include "src/train/gpu_links.hpp"
#include "src/train/trainer.hpp"
#include "src/watch/start_deadline.hpp"
#include "src/watch/watchdog.hpp"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

namespace sluice {

class RankRun {
public:
    /// `deadline`, which may be none, ends once the ranks watch each other.
    RankRun(std::unique_ptr<Transport> transport, std::filesystem::path run_dir,
            std::unique_ptr<StartDeadline> deadline = nullptr);
    /// Collective: all ranks leave together.
    ~RankRun();
    RankRun(const RankRun&) = delete;
    RankRun& operator=(const RankRun&) = delete;

    /// Collective. Trains and returns the exit code. Mistakes that all ranks know of are said by
    /// rank 0; any other failure ends the job of all ranks from here.
    int go(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
           const FaultInjection& fault);

private:
    int train(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
              const FaultInjection& fault);
    /// The same, with the exit code of what all ranks refuse together.
    int train_or_refuse(const RunConfig& config, const ResumeRequest& resume,
                        std::int64_t stop_after, const FaultInjection& fault);
    /// Collective. Where this rank computes; what it may take there, the same on all ranks.
    std::size_t settle_processor(RunConfig& config, RunHardware& hardware);
    /// Collective. Where a rank's GPU has much less memory left than those of others.
    void warn_of_taken_gpus(std::size_t free_bytes);
    /// Collective. Has cuDNN make its plans if the run asks for it; what is left to this rank.
    std::size_t prepare_attention(const RunConfig& config, std::size_t bytes_per_rank);
    /// Collective. What rounds the numbers of all ranks; rank 0 warns where they differ.
    std::string arithmetic_of_all(const RunConfig& config);
    /// Collective. Opens the ways between GPUs that `plan` needs. What they leave of what a rank
    /// may take, the same on all ranks.
    std::size_t connect(const RunConfig& config, const RunPlan& plan, std::size_t bytes_per_rank);
    /// Collective. Cores and GPUs of every rank, said by rank 0.
    void announce_binding();
    /// Refusals known to all, which are logged: rank 0 keeps the reason.
    void record_refusal(const std::string& why);
    /// Ends all ranks from one that cannot go on.
    [[noreturn]] void abandon(const std::string& why, ExitCode code);
    /// Collective.
    void watch(const RunConfig& config);
    /// On the watching thread: a rank is gone or hangs.
    [[noreturn]] void end_by(const Alarm& alarm);
    void write_failed_status(const std::string& why, ExitCode code);
    /// Into status and log, unless another run has the folder.
    void leave_last_words(const std::string& why, ExitCode code);
    void leave_last_words_in_a_moment(const std::string& why); ///< as a hanging rank may
    /// No other run has taken the folder.
    bool folder_is_ours() const;
    /// `status`, as it stands in the folder, gives a reason why this very job has failed.
    bool is_failure_of_this_job(const std::string& status) const;

    /// "rank 3", with its replica where there are several.
    std::string name_of(int rank) const;

    std::unique_ptr<StartDeadline> start_deadline_;
    std::unique_ptr<Transport> transport_;
    RunFolder folder_;
    int num_replicas_ = 1;
    bool gpus_alone_ = false;                ///< each rank has one of its own
    std::unique_ptr<ComputeStream> compute_; ///< of a GPU
    std::unique_ptr<GpuLinks> links_;
    std::unique_ptr<Replicas> replicas_;
    std::unique_ptr<Trainer> trainer_;
    RankActivity activity_;
    std::string rank_zero_; ///< the process that locks the folder
    /// What an earlier job left in the folder: before the watch began, and once it was locked.
    std::string status_before_, status_at_lock_;
    std::atomic<bool> locked_{false};
    std::atomic<bool> started_{false}; ///< status.json is this job's
    std::unique_ptr<Watchdog> watch_;
};

} // namespace sluice
