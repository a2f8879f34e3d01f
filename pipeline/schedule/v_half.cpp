// V-half: Qi et al., "Pipeline parallelism with controllable memory", arXiv:2405.15362.
//
// One micro-batch's actions on all ranks make a pattern, repeated for each micro-batch. In slots of
// F = I = W = 1, of which a micro-batch takes six per rank: forwards and input gradients go down
// the ranks two slots per rank and up again one slot per rank. A micro-batch is away for about
// 6 (P-1) slots, so a rank keeps P half stages, where ZB-V, which is away for twice as long, keeps
// 2P. Going down and coming up differ by three slots more on each rank, half of the six: what goes
// down has its two places on every rank, and what comes up takes others, whatever the rank. Weight
// gradients get the two slots that are left.
//
// Where F and I differ, the larger of them takes the place of both, and a rank idles 2 |F - I| per
// micro-batch.

#include "core/error.hpp"
#include "pipeline/schedule/placement.hpp"
#include "pipeline/schedule/v_shape.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace sluice {

namespace {

constexpr std::int64_t slots = 6; ///< per micro-batch and rank

/// An action of micro-batch 0 on a rank; micro-batch m follows 6 m slots later.
struct PatternAction {
    ActionKind kind;
    std::int32_t chunk;
    std::int64_t slot;
};

/// In the order of slots modulo 6.
std::array<PatternAction, slots> pattern_of(std::int32_t rank, std::int32_t num_ranks)
{
    const std::int64_t last = num_ranks - 1;
    // How long a micro-batch stays on the last rank between its chunks, and on rank 0 between the
    // forward and the gradient that ends it: what keeps the places apart for an odd and an even
    // number of ranks, with the least idle time.
    const bool odd = num_ranks % 2 == 1;
    const std::int64_t turn = odd ? 2 : 5, loss = 1, return_turn = odd ? 1 : 4;
    const std::int64_t up_forward = 2 * last + turn + (last - rank);
    const std::int64_t up_input = 2 * last + turn + last + loss + 2 * rank;
    const std::int64_t down_input =
        2 * last + turn + last + loss + 2 * last + return_turn + (last - rank);
    const std::int32_t down = rank, up = 2 * num_ranks - 1 - rank;

    std::array<PatternAction, slots> pattern{};
    std::array<bool, slots> taken{};
    const auto place = [&](ActionKind kind, std::int32_t chunk, std::int64_t slot) {
        while (kind == ActionKind::backward_weight && taken[slot % slots])
            ++slot;
        SLUICE_CHECK(!taken[slot % slots], "rank " << rank << " of " << num_ranks);
        taken[slot % slots] = true;
        pattern[slot % slots] = {kind, chunk, slot};
    };
    place(ActionKind::forward, down, 2 * std::int64_t{rank});
    place(ActionKind::forward, up, up_forward);
    place(ActionKind::backward_input, up, up_input);
    place(ActionKind::backward_input, down, down_input);
    place(ActionKind::backward_weight, up, up_input + 1);
    place(ActionKind::backward_weight, down, down_input + 1);
    return pattern;
}

} // namespace

Schedule make_v_half(std::int32_t num_ranks, std::int32_t num_microbatches)
{
    SLUICE_CHECK(num_ranks >= 1 && num_microbatches >= 1,
                 num_ranks << " ranks, " << num_microbatches << " micro-batches");
    Schedule schedule{.num_chunks = 2 * num_ranks,
                      .num_microbatches = num_microbatches,
                      .rank_of_chunk = rank_of_chunks(Placement::v_shape, num_ranks, 2),
                      .actions = {}};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank) {
        const auto pattern = pattern_of(rank, num_ranks);
        std::int64_t rounds = 0;
        for (const PatternAction& each : pattern)
            rounds = std::max(rounds, each.slot / slots + num_microbatches);
        auto& actions = schedule.actions.emplace_back();
        actions.reserve(slots * static_cast<std::size_t>(num_microbatches) + 1);
        for (std::int64_t round = 0; round < rounds; ++round)
            for (const PatternAction& each : pattern) {
                const std::int64_t microbatch = round - each.slot / slots;
                if (microbatch >= 0 && microbatch < num_microbatches)
                    actions.push_back(
                        {each.kind, each.chunk, static_cast<std::int32_t>(microbatch)});
            }
        actions.push_back({ActionKind::optimizer_step, 0, 0});
    }
    return schedule;
}

} // namespace sluice
