// Costs as a JSON file, so that a measurement on one machine can plan for it on another
// (docs/planner.md describes every entry).
#pragma once

#include "src/config/run_config.hpp"
#include "src/plan/cost_model.hpp"

#include <filesystem>
#include <string>

namespace sluice {

/// What costs were taken with: costs of another model would plan nonsense.
struct CostConditions {
    ModelSpec model;
    MicroBatchShape micro_batch;
    std::string precision; ///< precision.compute
    std::string device;    ///< run.device
};

/// Of the run; "auto" counts as a CPU.
CostConditions conditions_of(const RunConfig& config);

/// Throws UserError (data) naming the file and the entry that is missing, unknown or out of range
/// (seconds: 0 to 10^6; bytes per second: 1 to 10^18; conditions: whole numbers), and what differs
/// when the file is for other layers, another sequence length, precision or device (files from
/// before these two were written say nothing of them). Another number of layers is no
/// difference; seconds scale with the sequences of a micro-batch.
CostModel read_cost_file(const std::filesystem::path& path, const CostConditions& wanted);

void write_cost_file(const std::filesystem::path& path, const CostModel& costs,
                     const CostConditions& conditions);

} // namespace sluice
