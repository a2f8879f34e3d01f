// What a trace and its ledger say about the run they come from.
#pragma once

#include "layers/parameter.hpp"
#include "pipeline/partition.hpp"
#include "pipeline/schedule/schedule.hpp"

#include <string>
#include <vector>

namespace sluice {

struct TracedRun {
    const Schedule& program;                  ///< of one replica, with communication
    const std::vector<LayerRange>& partition; ///< one range per chunk
    LayerCosts planned;                       ///< what the partition was made from
    std::string schedule_name;                ///< as in run files
    std::int64_t micro_batch_size = 0, seq_len = 0;
    int num_replicas = 1; ///< rank r is the program's rank r mod P in replica r / P

    int num_ranks() const { return num_replicas * program.num_ranks(); }
};

/// "layers 0..7", "layer 3"; the embedding and the head are named, too.
std::string text_of(const LayerRange& range);

} // namespace sluice
