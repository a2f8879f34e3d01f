#include "src/train/slow_ranks.hpp"

#include "core/host_name.hpp"

#include <algorithm>

namespace sluice {

SlowRanks::SlowRanks(const Schedule& program, const std::vector<LayerRange>& partition,
                     const Replicas& replicas)
    : num_replicas_(replicas.count()), ranks_per_replica_(replicas.ranks_per_replica()),
      partition_(partition), stages_of_rank_(static_cast<std::size_t>(ranks_per_replica_)),
      host_of_rank_(replicas.world().gather_text(host_name())),
      detector_(replicas.world().num_ranks())
{
    for (std::size_t chunk = 0; chunk < program.rank_of_chunk.size(); ++chunk)
        stages_of_rank_[static_cast<std::size_t>(program.rank_of_chunk[chunk])].push_back(
            static_cast<std::int64_t>(chunk));
}

std::vector<SlowRank> SlowRanks::observe(std::span<const double> compute_seconds,
                                         std::span<const double> alphas)
{
    const auto num_closed = std::count(alphas.begin(), alphas.end(), 0.0);
    if (num_closed != num_closed_gates_)
        detector_.forget_histories(work_of_ranks(alphas));
    num_closed_gates_ = num_closed;
    std::vector<SlowRank> found;
    for (const StragglerNotice& notice : detector_.observe(compute_seconds))
        found.push_back(described(notice));
    return found;
}

/// Ranks do the same work when their chunks have as many layers behind open and behind closed
/// gates, and embedding and head or not. Numbered as they come.
std::vector<std::size_t> SlowRanks::work_of_ranks(std::span<const double> alphas) const
{
    std::vector<std::vector<std::int64_t>> kinds;
    std::vector<std::size_t> work;
    for (const std::vector<std::int64_t>& stages : stages_of_rank_) {
        std::vector<std::int64_t> kind{0, 0, 0, 0}; // open, closed, embedding, head
        for (const std::int64_t stage : stages) {
            const LayerRange& range = partition_[static_cast<std::size_t>(stage)];
            for (std::int64_t layer = range.begin; layer < range.end; ++layer)
                ++kind[alphas[static_cast<std::size_t>(layer)] == 0.0 ? 1 : 0];
            kind[2] += range.embedding;
            kind[3] += range.head;
        }
        const auto known = std::find(kinds.begin(), kinds.end(), kind);
        work.push_back(static_cast<std::size_t>(known - kinds.begin()));
        if (known == kinds.end())
            kinds.push_back(kind);
    }
    const std::size_t per_replica = work.size();
    for (std::size_t rank = per_replica; rank < host_of_rank_.size(); ++rank)
        work.push_back(work[rank % per_replica]);
    return work;
}

SlowRank SlowRanks::described(const StragglerNotice& notice) const
{
    SlowRank slow{
        .notice = notice,
        .name = "rank " + std::to_string(notice.rank),
        .replica = notice.rank / ranks_per_replica_,
        .stages = stages_of_rank_[static_cast<std::size_t>(notice.rank) % stages_of_rank_.size()],
        .host = host_of_rank_[static_cast<std::size_t>(notice.rank)]};
    if (num_replicas_ > 1)
        slow.name = "replica " + std::to_string(slow.replica) + ", " + slow.name;
    std::string stages;
    for (const std::int64_t stage : slow.stages)
        stages += (stages.empty() ? "" : ", ") + std::to_string(stage);
    slow.name +=
        (slow.stages.size() == 1 ? " (stage " : " (stages ") + stages + ") on " + slow.host;
    return slow;
}

} // namespace sluice
