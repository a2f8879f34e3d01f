#include "pipeline/replicas.hpp"

#include "core/error.hpp"

namespace sluice {

Replicas::Replicas(Transport& world, int count, const Links& links) : world_(world), count_(count)
{
    SLUICE_CHECK(count >= 1 && world.num_ranks() % count == 0,
                 count << " replicas of " << world.num_ranks() << " ranks");
    const int place = world.rank() % ranks_per_replica();
    if (count_ == 1) {
        peers_ = make_in_process_transport();
    } else {
        pipeline_ = world_.split(index(), place);
        peers_ = world_.split(place, index());
    }
    if (links.pipeline)
        linked_pipeline_ = links.pipeline(pipeline());
    if (links.peers && count_ > 1)
        linked_peers_ = links.peers(*peers_);
}

} // namespace sluice
