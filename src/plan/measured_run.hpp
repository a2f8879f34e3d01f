// What a traced run really took: the ledger of its trace (docs/traces.md), read for the planner.
#pragma once

#include "pipeline/simulator.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

/// Seconds of one rank's mean update; the parts add up to `update`.
struct MeasuredRank {
    double update = 0.0;
    double compute = 0.0, fill_drain = 0.0, imbalance = 0.0, exposed_transfer = 0.0, barrier = 0.0;
    double jitter = 0.0; ///< waiting that steady costs do not explain
    double data = 0.0, optimizer = 0.0, other = 0.0;
};

/// Median seconds of one chunk; empty for what the schedule does not run.
struct MeasuredWork {
    std::int32_t rank = 0;
    std::int64_t first_layer = 0, num_layers = 0;
    std::optional<double> forward, backward, backward_input, backward_weight, transfer;
    ChunkCosts replayed; ///< reading tokens and handling messages counted in
};

struct MeasuredRun {
    std::string where; ///< "updates 100-102 of RUN_DIR"
    std::string schedule;
    std::int32_t num_replicas = 1;
    std::int32_t num_microbatches = 0; ///< of one replica, as chunks are
    std::int64_t micro_batch_size = 0, seq_len = 0;
    double barrier_seconds = 0.0;
    std::vector<MeasuredWork> chunks;
    std::vector<MeasuredRank> ranks; ///< those of all replicas
};

/// Reads RUN_DIR/trace/ledger.json. Throws UserError (data) when there is none, saying how to make
/// one, or when it is not a ledger, naming the entry: one that is missing, an update that takes no
/// time, work that takes less than none.
MeasuredRun read_measured_run(const std::filesystem::path& run_dir);

} // namespace sluice
