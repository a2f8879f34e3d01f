// What a run asks of its pipeline's layout: ranks, chunks, and the layers of each.
#pragma once

#include "pipeline/schedule/schedule_family.hpp"
#include "src/config/run_config.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// Not for `custom` nor `automatic`.
ScheduleFamily family_of(PipelineScheduleKind kind);
PipelineScheduleKind kind_of(ScheduleFamily family);

/// Chunks of the whole pipeline. Not for `custom`, where the file says, nor `automatic`.
std::int32_t num_chunks(const PipelineConfig& pipeline, int num_ranks);

/// "7,5" as numbers, each at least 1 (the last of several: 0); throws UserError (usage) at `where`
/// for anything else.
std::vector<std::int64_t> layers_per_chunk(const std::string& partition, const std::string& where);

/// Throws UserError (usage) when pipeline.partition names another number of chunks.
void check_partition(const RunConfig& config, std::int32_t num_chunks, const std::string& where);

/// More than any machine has; below it ranks are counted in `int`.
inline constexpr std::int64_t most_ranks = 1'000'000;

/// How people say the number of ranks, for what to do about it.
struct RanksOption {
    std::string_view name = "mpirun -n";
    std::int64_t ranks_each = 1; ///< that one of what it counts stands for: ranks of a node
};

/// Throws UserError (usage) when `num_ranks`, those of all replicas together, cannot run this (more
/// stages than layers, more than most_ranks, ...).
void check_layout(const RunConfig& config, std::int64_t num_ranks, RanksOption said_by = {});

/// "layout of 8 ranks": where what is wrong with a layout lies. `num_ranks`: of all replicas.
std::string layout_of_ranks(std::int64_t num_ranks);

} // namespace sluice
