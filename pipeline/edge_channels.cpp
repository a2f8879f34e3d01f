#include "pipeline/edge_channels.hpp"

#include "pipeline/schedule/placement.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace sluice {

namespace {

/// From rank, to rank, whether gradients.
using Way = std::tuple<int, int, bool>;

Way way_of(const EdgeChannel& channel)
{
    return {channel.from_rank, channel.to_rank, channel.gradient};
}

/// Two for each edge between ranks, none shared.
std::vector<EdgeChannel> channels_apart(const Schedule& schedule)
{
    std::vector<EdgeChannel> channels;
    for (std::int32_t chunk = 0; chunk + 1 < schedule.num_chunks; ++chunk) {
        if (!schedule.crosses(chunk))
            continue;
        const int lower = schedule.rank_of_chunk[chunk], upper = schedule.rank_of_chunk[chunk + 1];
        channels.push_back({{chunk + 1}, false, lower, upper});
        channels.push_back({{chunk}, true, upper, lower});
    }
    return channels;
}

/// Messages on one way, by the chunk they go to and their micro-batch, as either side asks for
/// them.
struct Traffic {
    std::vector<std::pair<std::int32_t, std::int32_t>> sent, received;
};

std::map<Way, Traffic> traffic_of(const Schedule& schedule)
{
    std::map<Way, Traffic> traffic;
    const auto owner = [&](std::int32_t chunk) { return schedule.rank_of_chunk[chunk]; };
    for (int rank = 0; rank < schedule.num_ranks(); ++rank)
        for (const Action& action : schedule.actions[static_cast<std::size_t>(rank)]) {
            const std::int32_t c = action.chunk, m = action.microbatch;
            switch (action.kind) {
            case ActionKind::send_activation:
                traffic[{rank, owner(c + 1), false}].sent.emplace_back(c + 1, m);
                break;
            case ActionKind::send_gradient:
                traffic[{rank, owner(c - 1), true}].sent.emplace_back(c - 1, m);
                break;
            case ActionKind::receive_activation:
                traffic[{owner(c - 1), rank, false}].received.emplace_back(c, m);
                break;
            case ActionKind::receive_gradient:
                traffic[{owner(c + 1), rank, true}].received.emplace_back(c, m);
                break;
            default: break;
            }
        }
    return traffic;
}

/// Evaluation (make_forward_only) then keeps the order for any number of micro-batches: each rank
/// does what rank 0 did a step earlier per rank, and rank 0 takes what comes around at once, as it
/// is further along than anything it could begin.
bool is_looped(const Schedule& schedule)
{
    const std::int32_t rounds = std::max(schedule.num_chunks / schedule.num_ranks(), 1);
    return schedule.rank_of_chunk ==
           rank_of_chunks(Placement::looped, schedule.num_ranks(), rounds);
}

} // namespace

std::vector<EdgeChannel> edge_channels(const Schedule& schedule)
{
    std::vector<EdgeChannel> apart = channels_apart(schedule);
    if (!is_looped(schedule))
        return apart;
    std::set<Way> shared;
    for (const auto& [way, traffic] : traffic_of(schedule))
        if (traffic.sent == traffic.received)
            shared.insert(way);
    std::vector<EdgeChannel> channels;
    for (EdgeChannel& channel : apart) {
        const auto first =
            std::find_if(channels.begin(), channels.end(), [&](const EdgeChannel& other) {
                return way_of(other) == way_of(channel);
            });
        if (first == channels.end() || !shared.contains(way_of(channel)))
            channels.push_back(std::move(channel));
        else
            first->to_chunks.push_back(channel.to_chunks.front());
    }
    return channels;
}

int most_ends(const std::vector<EdgeChannel>& channels)
{
    std::map<int, int> of_rank;
    int most = 0;
    for (const EdgeChannel& channel : channels)
        for (const int rank : {channel.from_rank, channel.to_rank})
            most = std::max(most, ++of_rank[rank]);
    return most;
}

} // namespace sluice
