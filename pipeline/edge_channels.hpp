// The ways that messages between chunks take, of one pipeline.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/transport/transport.hpp"

#include <vector>

namespace sluice {

/// Two for each edge whose chunks are on different ranks, in an order that is the same on all.
/// Edges between the same ranks share theirs where the k-th receive of all their messages would get
/// the k-th send, in training and in evaluation: then a message is never behind one that starts
/// later, and what finishes with ways apart finishes so, too. `schedule`: lowered, and keeping the
/// order edge by edge (MatchingRule::in_order).
std::vector<EdgeChannel> edge_channels(const Schedule& schedule);

/// How many begin or end at the rank where most do.
int most_ends(const std::vector<EdgeChannel>& channels);

} // namespace sluice
