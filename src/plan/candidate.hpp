// Ways to lay a run out over its ranks: each priced in time and memory, and one recommended.
#pragma once

#include "pipeline/idle_causes.hpp"
#include "src/config/run_config.hpp"
#include "src/plan/cost_model.hpp"
#include "src/plan/run_plan.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace sluice {

inline constexpr std::size_t unlimited_bytes = std::numeric_limits<std::size_t>::max();

/// One layout and what it would cost.
struct Candidate {
    PipelineConfig layout; ///< concrete: never `auto`
    bool asked = false;    ///< the one in the run file
    double optimizer_seconds = 0.0;
    double seconds_per_update = 0.0; ///< forward and backward, the reductions, the optimizer
    double ideal_seconds = 0.0;      ///< all work over all ranks, optimizer not counted
    double partition_bound = 1.0;    ///< share of time the busiest rank leaves the others to work
    IdleByCause idle;
    std::vector<StageMemory> memory; ///< [rank]
    int fullest_rank = 0;
    std::size_t peak_bytes = 0; ///< of the fullest rank, the program's own memory included

    bool fits(std::size_t bytes_per_rank) const { return peak_bytes <= bytes_per_rank; }
    /// Share of an update that the ranks compute forward and backward.
    double busy_share() const;
};

/// Of the device the run asks for; of a CPU where that is not settled.
const AssumedRates& assumed_rates(const RunConfig& config);

/// Bytes of one rank, the program's own included (on a GPU the stream's workspace, which is as
/// much).
std::size_t total_bytes(const StageMemory& memory);

/// The rank that needs most, and how much.
struct RankPeak {
    std::size_t bytes = 0;
    int rank = 0;
};
RankPeak peak_of(const RunPlan& plan);

/// What each chunk of the plan takes.
std::vector<ChunkCosts> costs_of_chunks(const RunPlan& plan, const CostModel& costs);

/// Simulates the plan, and counts its memory. What replicas exchange counts to the barrier.
/// `config.pipeline` is what the plan was made from.
Candidate price(const RunConfig& config, const RunPlan& plan, const CostModel& costs);

/// `num_ranks`, here and below: of one replica.
/// Every schedule family, with 2, 4, 8 or 16 chunks per rank and deeper warm-ups where it takes
/// them, as layers and a partition by hand allow; and first the layout in the run file, unless it
/// is `auto`.
std::vector<PipelineConfig> possible_layouts(const RunConfig& config, int num_ranks);

/// All of possible_layouts(), priced, each with the least recomputation that fits (all of it where
/// nothing does); first the layout in the run file as it is, unless it is `auto`.
std::vector<Candidate> price_all(const RunConfig& config, int num_ranks, const CostModel& costs,
                                 std::size_t bytes_per_rank);

/// The fastest that fits; of those within 1% of it, the one with the least memory; of those within
/// 1% of that, the simplest: fewer chunks per rank, less recomputation, shallower warm-up, earlier
/// in the list of families. Null when none fits.
const Candidate* recommended(const std::vector<Candidate>& candidates, std::size_t bytes_per_rank);

/// Where a run file with schedule = "auto" sets what that chooses as well, which is not looked at.
void warn_of_what_auto_chooses(const PipelineConfig& asked);

/// A run file's schedule = "auto" made concrete: recommended() at costs_from_flops(), a pure
/// function of its arguments, so that all ranks choose the same. Returns any other schedule as it
/// is. Leaves `reserve_bytes` of the memory alone where some layout does without them. Throws
/// UserError (usage) when no layout fits, with the numbers.
RunConfig resolve_auto(const RunConfig& config, int num_ranks, std::size_t bytes_per_rank,
                       std::size_t reserve_bytes = 0);

/// "--set pipeline.schedule=zb-v ...": the keys in which `layout` differs from `from`.
std::string as_overrides(const PipelineConfig& layout, const PipelineConfig& from);

} // namespace sluice
