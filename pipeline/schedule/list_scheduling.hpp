// Greedy list scheduling for given costs, after the tools of arXiv:2401.10241 and arXiv:2405.15362:
// a schedule made for other costs says in which order work is wanted, the costs say what is there
// to be done.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <span>

namespace sluice {

struct ListScheduling {
    /// Chunk activations alive at once on a rank, at most. Not fewer than chunks per rank.
    std::int32_t most_live = 0;
    /// A weight gradient counts as wanted this many seconds after its input gradient's turn in the
    /// reference; until then it only fills gaps.
    double weight_delay = 0.0;
    /// A weight gradient fills a gap that is at least this share of its own time; 0: any gap.
    double least_gap = 0.0;
};

struct ListSchedule {
    Schedule schedule;  ///< without communication
    double total = 0.0; ///< seconds until the last rank is done, with the costs given
};

/// Whenever a rank is free it does, of the forwards and input gradients whose input has arrived,
/// the one that starts first in `reference` (simulated with `costs`); a weight gradient when its
/// turn comes, when nothing else is there to do, or when memory is full. `reference` has no
/// communication and has passed the checker; its backward passes are all whole, and stay whole, or
/// all split. Each kind goes in micro-batch order per chunk, as there. The result finishes: no rank
/// takes a micro-batch for its first chunks unless one activation remains for each later one, so
/// the oldest micro-batch can always go on.
ListSchedule schedule_by_list(const Schedule& reference, std::span<const ChunkCosts> costs,
                              const ListScheduling& options);

} // namespace sluice
