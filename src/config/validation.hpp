// What a run file's keys must satisfy together. Types and single ranges are checked on reading.
#pragma once

#include "src/config/run_config.hpp"
#include "src/config/run_file.hpp"

#include <string>

namespace sluice {

/// T from prores.total_warmup_steps, where that was given: total / num_layers, or the total itself
/// for "equal", whose layers all warm over T. Throws UserError (usage) when it does not divide.
void settle_warmup_steps(RunConfig& config, const RunFile& file);

/// Throws UserError (usage) for the first thing that is missing or impossible.
void validate(const RunConfig& config, const RunFile& file);

/// Throws UserError (usage) where no attention on run.device has heads that wide. A device that is
/// "auto" counts as a CPU, so it is asked again once it is concrete.
void refuse_wide_heads(const RunConfig& config, const std::string& where);

} // namespace sluice
