// 1F1B: Narayanan et al., "PipeDream", arXiv:1806.03377, in the flushed form of arXiv:2006.09503.
// A rank starts with as many forwards as there are stages behind it, then alternates, so that rank
// i keeps P - i micro-batches alive instead of all.
//
// With transfers that take c, neighbours i and i+1 whose warm-ups differ by d go round F, c, F, B,
// c, B in d + 1 micro-batches, so the pace F + B needs d >= 1 + 2c / (F + B) at EVERY edge: one
// more forward per stage behind (d = 2) hides transfers up to c = (F + B) / 2, while the same
// number more on all ranks would leave d, and the pace, as they were.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"

#include <algorithm>

namespace sluice {

Schedule make_1f1b(std::int32_t num_ranks, std::int32_t num_microbatches, std::int32_t extra_warmup)
{
    SLUICE_CHECK(num_ranks >= 1 && num_microbatches >= 1 && extra_warmup >= 0,
                 num_ranks << " ranks, " << num_microbatches << " micro-batches, extra warm-up "
                           << extra_warmup);
    Schedule schedule{.num_chunks = num_ranks,
                      .num_microbatches = num_microbatches,
                      .rank_of_chunk = {},
                      .actions = {}};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank) {
        schedule.rank_of_chunk.push_back(rank);
        auto& actions = schedule.actions.emplace_back();
        actions.reserve(2 * static_cast<std::size_t>(num_microbatches) + 1);
        const std::int32_t behind = num_ranks - 1 - rank;
        const std::int64_t warmup = behind * (1 + std::int64_t{extra_warmup});
        const auto ahead =
            static_cast<std::int32_t>(std::min<std::int64_t>(warmup, num_microbatches));
        for (std::int32_t m = 0; m < ahead; ++m)
            actions.push_back({ActionKind::forward, rank, m});
        for (std::int32_t m = 0; m < num_microbatches; ++m) {
            if (m + ahead < num_microbatches)
                actions.push_back({ActionKind::forward, rank, m + ahead});
            actions.push_back({ActionKind::backward, rank, m});
        }
        actions.push_back({ActionKind::optimizer_step, 0, 0});
    }
    return schedule;
}

} // namespace sluice
