#include "pipeline/edge_channels.hpp"

#include <algorithm>
#include <map>

namespace sluice {

std::vector<EdgeChannel> edge_channels(const Schedule& schedule)
{
    std::vector<EdgeChannel> channels;
    for (std::int32_t chunk = 0; chunk + 1 < schedule.num_chunks; ++chunk) {
        const int lower = schedule.rank_of_chunk[chunk], upper = schedule.rank_of_chunk[chunk + 1];
        if (lower == upper)
            continue;
        channels.push_back({chunk + 1, false, lower, upper});
        channels.push_back({chunk, true, upper, lower});
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
