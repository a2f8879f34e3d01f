// Evaluation's program: forwards only.

#include "pipeline/schedule/schedule.hpp"

#include <vector>

namespace sluice {

namespace {

/// Lets each rank run, step by step, the forward that is furthest along the pipeline. Whatever a
/// forward waits for, its input or its one slot, comes from an earlier step: so the program
/// finishes for any placement.
class ForwardWave {
public:
    ForwardWave(const std::vector<std::int32_t>& rank_of_chunk, std::int32_t num_ranks,
                std::int32_t num_microbatches)
        : done_(rank_of_chunk.size(), 0), stepped_(static_cast<std::size_t>(num_ranks))
    {
        schedule_.num_chunks = static_cast<std::int32_t>(rank_of_chunk.size());
        schedule_.num_microbatches = num_microbatches;
        schedule_.rank_of_chunk = rank_of_chunk;
        schedule_.actions.resize(static_cast<std::size_t>(num_ranks));
    }

    Schedule run()
    {
        while (done_.back() < schedule_.num_microbatches) {
            const std::vector<std::int32_t> before = done_;
            stepped_.assign(stepped_.size(), false);
            for (std::int32_t c = schedule_.num_chunks; c-- > 0;) {
                const auto rank = static_cast<std::size_t>(schedule_.rank_of_chunk[c]);
                if (stepped_[rank] || !can_run(c, before))
                    continue;
                append(rank, c);
                stepped_[rank] = true;
            }
        }
        return std::move(schedule_);
    }

private:
    bool can_run(std::int32_t c, const std::vector<std::int32_t>& before) const
    {
        const std::int32_t m = done_[c];
        if (m == schedule_.num_microbatches || (c > 0 && before[c - 1] <= m))
            return false;
        // A chunk has one slot: the next chunk must have copied from it or, elsewhere, have posted
        // its receive, which it does when it turns to that forward, in this step or before.
        return c + 1 == schedule_.num_chunks || done_[c + 1] >= m;
    }
    void append(std::size_t rank, std::int32_t c)
    {
        auto& actions = schedule_.actions[rank];
        const std::int32_t m = done_[c]++;
        if (schedule_.crosses(c - 1))
            actions.push_back({ActionKind::receive_activation, c, m});
        actions.push_back({ActionKind::forward, c, m});
        if (schedule_.crosses(c))
            actions.push_back({ActionKind::send_activation, c, m});
    }

    Schedule schedule_;
    std::vector<std::int32_t> done_; ///< [chunk] forwards
    std::vector<bool> stepped_;      ///< [rank] in this step
};

} // namespace

Schedule make_forward_only(const std::vector<std::int32_t>& rank_of_chunk, std::int32_t num_ranks,
                           std::int32_t num_microbatches)
{
    return ForwardWave(rank_of_chunk, num_ranks, num_microbatches).run();
}

} // namespace sluice
