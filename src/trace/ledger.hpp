// Where the time of traced updates went, rank by rank, and what each chunk's work takes.
//
// Computation, reading, the optimizer are measured. What a rank waits is measured, too; WHY it
// waits is found by replaying the schedule with each chunk's measured costs
// (pipeline/idle_causes.hpp). What the replay does not explain, because some micro-batches took
// longer than others or ranks did not begin together, is jitter; it is negative where a rank waited
// less than the replay says. docs/traces.md defines every figure.
#pragma once

#include "pipeline/simulator.hpp"
#include "src/trace/rank_timeline.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sluice {

/// One rank's update in nanoseconds; the parts behind `update` add up to it exactly.
struct UpdateSplit {
    std::int64_t update = 0;
    std::int64_t compute = 0;
    std::int64_t fill_drain = 0;
    std::int64_t imbalance = 0; ///< negative on ranks that the slower ones leave less to wait
    std::int64_t exposed_transfer = 0; ///< waiting for messages under way, handling them, replicas
    std::int64_t barrier = 0;          ///< the reduction itself, without waiting for slower ranks
    std::int64_t jitter = 0;           ///< waiting that steady costs do not explain
    std::int64_t data = 0;
    std::int64_t optimizer = 0;
    std::int64_t other = 0;

    std::int64_t waiting() const
    {
        return fill_drain + imbalance + exposed_transfer + barrier + jitter;
    }
};

/// The parts, in the order of tables and files.
struct SplitPart {
    std::string_view name, column; ///< in files; in tables
    std::int64_t UpdateSplit::*nanoseconds;
};
inline constexpr std::array<SplitPart, 10> split_parts{{
    {"update", "update", &UpdateSplit::update},
    {"compute", "compute", &UpdateSplit::compute},
    {"fill_drain", "fill", &UpdateSplit::fill_drain},
    {"imbalance", "imbal", &UpdateSplit::imbalance},
    {"exposed_transfer", "transf", &UpdateSplit::exposed_transfer},
    {"barrier", "barr", &UpdateSplit::barrier},
    {"jitter", "jitter", &UpdateSplit::jitter},
    {"data", "data", &UpdateSplit::data},
    {"optimizer", "optim", &UpdateSplit::optimizer},
    {"other", "other", &UpdateSplit::other},
}};

/// Medians over the micro-batches of all traced updates, in seconds; empty for what the schedule
/// does not run.
struct MeasuredChunk {
    std::optional<double> forward, backward, backward_input, backward_weight; ///< computation only
    std::optional<double> transfer; ///< to or from the next chunk, where on another rank
    /// What the replay uses: reading tokens and handling messages counted to the action they serve;
    /// a whole backward as two halves.
    ChunkCosts replayed;
};

struct TracedUpdate {
    std::int64_t update = 0;
    std::vector<UpdateSplit> ranks;
};

struct Ledger {
    std::vector<MeasuredChunk> chunks;
    double barrier_seconds = 0.0; ///< median over updates of the rank that waited least
    std::vector<TracedUpdate> updates;

    /// Mean over the updates, rounded to nanoseconds; the parts still add up.
    std::vector<UpdateSplit> mean() const;
};

/// `timelines`: one per rank of `program`, replica behind replica, all of the same updates, at
/// least one.
Ledger make_ledger(const Schedule& program, std::span<const RankTimeline> timelines);

} // namespace sluice
