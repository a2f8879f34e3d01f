// The ways that messages between chunks take, of one pipeline.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/transport/transport.hpp"

#include <vector>

namespace sluice {

/// Two for each edge whose chunks are on different ranks, in an order that is the same on all.
std::vector<EdgeChannel> edge_channels(const Schedule& schedule);

/// How many begin or end at the rank where most do.
int most_ends(const std::vector<EdgeChannel>& channels);

} // namespace sluice
