#include "pipeline/edge_channels.hpp"

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

} // namespace sluice
