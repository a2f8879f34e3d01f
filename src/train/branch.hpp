// A run that leaves another one's path: from a checkpoint on by another recipe.
#pragma once

#include "io/checkpoint.hpp"
#include "src/config/run_config.hpp"
#include "src/train/run_hardware.hpp"

#include <string>
#include <vector>

namespace sluice {

/// What is another one from `trunk` on, in lines for people: keys of the recipe, and the learning
/// rate where it does not go on as it was. `config` has the trunk's defaults (keep_saved_defaults).
/// Throws UserError (usage) where the model, the batches or the precision are others, which a
/// branch keeps, and where the run would end with the trunk's checkpoint.
std::vector<std::string> leave_trunk(const CheckpointReader& trunk, const RunConfig& config,
                                     const RunHardware& hardware = {});

} // namespace sluice
