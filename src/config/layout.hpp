// What a run asks of its pipeline's layout: chunks, and the layers of each.
#pragma once

#include "pipeline/schedule/schedule_family.hpp"
#include "src/config/run_config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

/// Not for `custom` nor `automatic`.
ScheduleFamily family_of(PipelineScheduleKind kind);

/// Chunks of the whole pipeline. Not for `custom`, where the file says, nor `automatic`.
std::int32_t num_chunks(const PipelineConfig& pipeline, int num_ranks);

/// "7,5" as numbers; throws UserError (usage) at `where` for anything else.
std::vector<std::int64_t> layers_per_chunk(const std::string& partition, const std::string& where);

/// Throws UserError (usage) when pipeline.partition names another number of chunks.
void check_partition(const RunConfig& config, std::int32_t num_chunks, const std::string& where);

} // namespace sluice
