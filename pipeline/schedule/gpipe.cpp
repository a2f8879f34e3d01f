// GPipe: Huang et al., "GPipe: Efficient training of giant neural networks using pipeline
// parallelism", arXiv:1811.06965. Simple, and every micro-batch's activations are alive at once.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"

namespace sluice {

Schedule make_gpipe(std::int32_t num_ranks, std::int32_t num_microbatches)
{
    SLUICE_CHECK(num_ranks >= 1 && num_microbatches >= 1,
                 num_ranks << " ranks, " << num_microbatches << " micro-batches");
    Schedule schedule{.num_chunks = num_ranks,
                      .num_microbatches = num_microbatches,
                      .rank_of_chunk = {},
                      .actions = {}};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank) {
        schedule.rank_of_chunk.push_back(rank);
        auto& actions = schedule.actions.emplace_back();
        actions.reserve(2 * static_cast<std::size_t>(num_microbatches) + 1);
        for (std::int32_t m = 0; m < num_microbatches; ++m)
            actions.push_back({ActionKind::forward, rank, m});
        for (std::int32_t m = 0; m < num_microbatches; ++m)
            actions.push_back({ActionKind::backward, rank, m});
        actions.push_back({ActionKind::optimizer_step, 0, 0});
    }
    return schedule;
}

} // namespace sluice
