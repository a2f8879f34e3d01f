// Names ranks that have become slow: rank 0's detector, and where each rank runs.
#pragma once

#include "layers/parameter.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "src/watch/straggler_detector.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// A notice with what people need to find the machine.
struct SlowRank {
    StragglerNotice notice;
    std::string name; ///< "replica 1, rank 5 (stage 1) on n2"
    std::int64_t replica = 0;
    std::vector<std::int64_t> stages; ///< chunks it owns
    std::string host;
};

class SlowRanks {
public:
    /// Collective. `program`: of one replica; `partition`: of its chunks.
    SlowRanks(const Schedule& program, const std::vector<LayerRange>& partition,
              const Replicas& replicas);

    /// Rank 0, after each update: who has just become slow or recovered. `compute_seconds`:
    /// [num_ranks]. `alphas`: [num_layers], that the update used; a gate that leaves 0 changes how
    /// much its rank computes, and histories are then learned anew.
    std::vector<SlowRank> observe(std::span<const double> compute_seconds,
                                  std::span<const double> alphas);

private:
    SlowRank described(const StragglerNotice& notice) const;
    std::vector<std::size_t> work_of_ranks(std::span<const double> alphas) const;

    int num_replicas_, ranks_per_replica_;
    std::vector<LayerRange> partition_;
    std::vector<std::vector<std::int64_t>> stages_of_rank_; ///< [ranks_per_replica]
    std::vector<std::string> host_of_rank_;                 ///< [num_ranks]
    StragglerDetector detector_;
    std::ptrdiff_t num_closed_gates_ = -1;
};

} // namespace sluice
