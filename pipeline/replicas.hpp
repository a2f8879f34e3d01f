// Data parallelism: the ranks of a run as replicas of one pipeline.
//
// Rank r of the job is rank r mod P of the pipeline of replica r / P, where P is the number of
// ranks of each. Replica r of R runs micro-batches [r M / R, (r + 1) M / R) of the M of an update.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <functional>
#include <memory>

namespace sluice {

class Replicas {
public:
    /// Makes a transport for some of the messages out of one of the same ranks, which outlives it.
    /// Collective over these.
    using Link = std::function<std::unique_ptr<Transport>(Transport& ranks)>;
    struct Links {
        Link pipeline; ///< between the chunks of one replica
        Link peers;    ///< between replicas
    };

    /// Collective. The number of ranks of `world` must be a multiple of `count`.
    Replicas(Transport& world, int count, const Links& links = {});

    /// All ranks of the job.
    Transport& world() const { return world_; }
    /// The ranks of this replica.
    Transport& pipeline() const
    {
        return linked_pipeline_ ? *linked_pipeline_ : pipeline_ ? *pipeline_ : world_;
    }
    /// The ranks with this rank's layers: rank r of them is that of replica r.
    Transport& peers() const { return linked_peers_ ? *linked_peers_ : *peers_; }

    int count() const { return count_; }
    int index() const { return world_.rank() / ranks_per_replica(); }
    int ranks_per_replica() const { return world_.num_ranks() / count_; }

    /// The first of this replica's share of `total` things in order, and one past its last.
    std::int64_t share_begin(std::int64_t total) const { return total * index() / count_; }
    std::int64_t share_end(std::int64_t total) const { return total * (index() + 1) / count_; }

private:
    Transport& world_;
    int count_;
    std::unique_ptr<Transport> pipeline_, peers_; ///< no pipeline_ where there is one replica
    /// Over pipeline_ or world_, and peers_, where there are links.
    std::unique_ptr<Transport> linked_pipeline_, linked_peers_;
};

} // namespace sluice
