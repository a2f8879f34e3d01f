// Evaluation's program: forwards only.

#include "pipeline/schedule/schedule.hpp"

#include <vector>

namespace sluice {

namespace {

/// Lets each rank run, step by step, the forward that is furthest along the pipeline.
class ForwardWave {
public:
    ForwardWave(const std::vector<std::int32_t>& rank_of_chunk, std::int32_t num_ranks,
                std::int32_t num_microbatches)
        : done_(rank_of_chunk.size(), 0), chunks_of_rank_(static_cast<std::size_t>(num_ranks))
    {
        schedule_.num_chunks = static_cast<std::int32_t>(rank_of_chunk.size());
        schedule_.num_microbatches = num_microbatches;
        schedule_.rank_of_chunk = rank_of_chunk;
        schedule_.actions.resize(static_cast<std::size_t>(num_ranks));
        for (std::int32_t c = schedule_.num_chunks; c-- > 0;)
            chunks_of_rank_[static_cast<std::size_t>(rank_of_chunk[c])].push_back(c);
    }

    Schedule run()
    {
        while (done_.back() < schedule_.num_microbatches) {
            const std::vector<std::int32_t> before = done_;
            for (std::size_t rank = 0; rank < chunks_of_rank_.size(); ++rank)
                for (const std::int32_t c : chunks_of_rank_[rank])
                    if (can_run(c, before)) {
                        append(rank, c);
                        break;
                    }
        }
        return std::move(schedule_);
    }

private:
    bool same_rank(std::int32_t chunk) const ///< as the next chunk
    {
        return schedule_.rank_of_chunk[chunk] == schedule_.rank_of_chunk[chunk + 1];
    }
    bool can_run(std::int32_t c, const std::vector<std::int32_t>& before) const
    {
        const std::int32_t m = done_[c];
        if (m == schedule_.num_microbatches || (c > 0 && before[c - 1] <= m))
            return false;
        // A chunk has one slot: the next chunk on this rank must have copied from it.
        return c + 1 == schedule_.num_chunks || !same_rank(c) || done_[c + 1] == m;
    }
    void append(std::size_t rank, std::int32_t c)
    {
        auto& actions = schedule_.actions[rank];
        const std::int32_t m = done_[c]++;
        if (c > 0 && !same_rank(c - 1))
            actions.push_back({ActionKind::receive_activation, c, m});
        actions.push_back({ActionKind::forward, c, m});
        if (c + 1 < schedule_.num_chunks && !same_rank(c))
            actions.push_back({ActionKind::send_activation, c, m});
    }

    Schedule schedule_;
    std::vector<std::int32_t> done_;                        ///< [chunk] forwards
    std::vector<std::vector<std::int32_t>> chunks_of_rank_; ///< last chunk first
};

} // namespace

Schedule make_forward_only(const std::vector<std::int32_t>& rank_of_chunk, std::int32_t num_ranks,
                           std::int32_t num_microbatches)
{
    return ForwardWave(rank_of_chunk, num_ranks, num_microbatches).run();
}

} // namespace sluice
