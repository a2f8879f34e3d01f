// One rank of a training run, from its folder to its exit code: the place where failures become
// messages, status.json and exit codes.
#pragma once

#include "src/train/peer_watch.hpp"
#include "src/train/trainer.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace sluice {

class RankRun {
public:
    RankRun(Transport& transport, std::filesystem::path run_dir);

    /// Collective. Trains and returns the exit code. Mistakes that all ranks know of leave as
    /// AgreedError; any other failure ends the job of all ranks from here.
    int go(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
           const FaultInjection& fault);

private:
    int train(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
              const FaultInjection& fault);
    /// Collective. Cores and GPUs of every rank, said by rank 0.
    void announce_binding();
    /// Failures known to all: rank 0 keeps the reason.
    void record_failure(const std::string& why, ExitCode code);
    /// Ends all ranks from one that cannot go on.
    [[noreturn]] void abandon(const std::string& why, ExitCode code);
    /// On the watching thread: another rank of this machine is gone.
    [[noreturn]] void peer_died(int rank, int process);
    void write_failed_status(const std::string& why, ExitCode code);

    /// "rank 3", with its replica where there are several.
    std::string name_of(int rank) const;

    Transport& transport_;
    RunFolder folder_;
    int num_replicas_ = 1;
    std::unique_ptr<Trainer> trainer_;
    std::unique_ptr<PeerWatch> watch_;
};

} // namespace sluice
