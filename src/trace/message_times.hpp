// When each message between chunks was sent, awaited and there, as two ranks' timelines tell.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "src/trace/rank_timeline.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// All times in nanoseconds on rank 0's clock; of the chunk that sends and the one that receives.
struct MessageTimes {
    std::int32_t edge = 0; ///< between chunk `edge` and the next
    std::int32_t microbatch = 0;
    bool gradient = false; ///< travels from chunk edge + 1 to chunk edge
    std::int32_t from_rank = 0, to_rank = 0;
    std::int64_t send_begin_ns = 0, sent_ns = 0; ///< the send action
    std::int64_t posted_ns = 0;                  ///< end of the receive action
    std::int64_t awaited_ns = 0;                 ///< the receiver begins to wait
    std::int64_t arrived_ns = 0;                 ///< it stops
    std::int64_t used_ns = 0;                    ///< computation on it begins

    /// Whether the receiver stood waiting when the message was sent: only then is its time known.
    bool was_awaited() const { return awaited_ns <= sent_ns; }
    /// Seconds on the way; an upper bound where nobody was waiting.
    double flight_seconds() const;
};

/// Of the `update`-th recorded update (from 0), in no particular order. `timelines`: of all ranks
/// of all replicas; rank r runs the program's rank r mod P.
std::vector<MessageTimes>
message_times(const Schedule& program, std::span<const RankTimeline> timelines, std::size_t update);

} // namespace sluice
