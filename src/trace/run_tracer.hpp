// Traces the updates that a run file asks for: stretch by stretch of neighbouring updates, each
// into a trace and a ledger below the run's folder.
#pragma once

#include "pipeline/action_recorder.hpp"
#include "pipeline/clock_alignment.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/config/update_ranges.hpp"
#include "src/trace/traced_run.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

/// What was written, for the log and metrics.jsonl.
struct WrittenTrace {
    std::int64_t first_update = 0, last_update = 0;
    std::filesystem::path trace, ledger;
    std::int64_t clock_uncertainty_ns = 0;
    double seconds = 0.0; ///< that gathering and writing took
    std::vector<std::string> table;
};

class RunTracer {
public:
    /// `ranges`: in order, apart. `folder` is made when the first trace is written. `stream`: what
    /// this rank computes on. Throws UserError (usage), the same on every rank, when one stretch
    /// would be larger than a trace can be.
    RunTracer(const TracedRun& run, std::vector<UpdateRange> ranges, std::filesystem::path folder,
              const Stream& stream);

    /// Collective, in front of update `update`: a stretch begins where a range does, or where a run
    /// enters one.
    void before_update(Transport& transport, std::int64_t update);
    /// Collective, behind the update and whatever was done after it (evaluation, checkpoint): where
    /// the stretch is over, or `last` says that no further update follows, writes it. On rank 0
    /// what was written, if anything was. Throws UserError (data) on all ranks when it cannot be.
    std::optional<WrittenTrace> after_update(Transport& transport, std::int64_t update, bool last);

    /// nullptr while nothing is traced.
    ActionRecorder* recorder() { return active_ ? &recorder_ : nullptr; }

private:
    WrittenTrace write(const std::vector<struct RankTimeline>& timelines) const;

    TracedRun run_;
    std::vector<UpdateRange> ranges_;
    std::filesystem::path folder_;
    ActionRecorder recorder_;
    std::vector<ClockOffset> begin_;
    bool active_ = false;
};

} // namespace sluice
