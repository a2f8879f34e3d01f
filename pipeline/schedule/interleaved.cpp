// Interleaved 1F1B: Narayanan et al., "Efficient large-scale language model training on GPU
// clusters using Megatron-LM", arXiv:2104.04473. Zero bubble: Qi et al., "Zero bubble pipeline
// parallelism", arXiv:2401.10241; ZB-H1 is one chunk per rank.
//
// Forwards go in rounds: P micro-batches through the rank's first chunk, the same P through its
// second, and so on; input gradients likewise from the last chunk to the first. After its warm-up a
// rank alternates between the two sequences. Neighbours' warm-ups differ by one forward, as in
// 1F1B: Megatron's differ by two, which hides transfers (extra_warmup = 1) but, where transfers
// cost nothing, takes P-1 more activations for the same idle time.
//
// With split backward passes rank i has i forwards less before its first input gradient than rank 0
// and spends that memory on weight gradients that wait: each comes i (1 + extra_warmup) input
// gradients late, so that the last ranks answer sooner and every rank has work left while the
// pipeline drains.

#include "pipeline/schedule/interleaved.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/placement.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// One rank's actions. Where the last round lacks micro-batches, their places are left out: what
/// remains keeps the order, and with it all that makes a whole round finish.
class RankActions {
public:
    RankActions(std::int32_t rank, std::int32_t num_ranks, std::int32_t num_microbatches,
                std::int32_t chunks_per_rank)
        : rank_(rank), num_ranks_(num_ranks), num_microbatches_(num_microbatches),
          chunks_per_rank_(chunks_per_rank)
    {
    }

    /// Places in the sequence of forwards, or of backwards.
    std::int64_t num_places() const
    {
        const std::int64_t rounds = (std::int64_t{num_microbatches_} + num_ranks_ - 1) / num_ranks_;
        return rounds * num_ranks_ * chunks_per_rank_;
    }

    void add(ActionKind kind, std::int64_t place)
    {
        const std::int64_t per_round = std::int64_t{num_ranks_} * chunks_per_rank_;
        const auto in_round = static_cast<std::int32_t>(place % per_round);
        const std::int64_t microbatch = place / per_round * num_ranks_ + in_round % num_ranks_;
        if (microbatch >= num_microbatches_)
            return;
        const std::int32_t turn = in_round / num_ranks_;
        const std::int32_t own = kind == ActionKind::forward ? turn : chunks_per_rank_ - 1 - turn;
        actions.push_back({kind, own * num_ranks_ + rank_, static_cast<std::int32_t>(microbatch)});
    }

    std::vector<Action> actions;

private:
    std::int32_t rank_, num_ranks_, num_microbatches_, chunks_per_rank_;
};

} // namespace

std::int32_t useful_extra_warmup(std::int32_t chunks_per_rank, std::int32_t asked)
{
    // Forward k + P on rank 0 needs forward k on the last rank, there w_last + 1 places behind a
    // backward that needs the one P places before it on rank 0. With w_0 - w_last > 2P that one
    // would stand behind forward k + P, and both ranks would wait for ever.
    return chunks_per_rank == 1 ? asked : std::min(asked, 1);
}

Schedule make_interleaved(std::int32_t num_ranks, std::int32_t num_microbatches,
                          std::int32_t chunks_per_rank, std::int32_t extra_warmup,
                          BackwardParts parts)
{
    SLUICE_CHECK(
        num_ranks >= 1 && num_microbatches >= 1 && chunks_per_rank >= 1 && extra_warmup >= 0,
        num_ranks << " ranks, " << num_microbatches << " micro-batches, " << chunks_per_rank
                  << " chunks per rank, extra warm-up " << extra_warmup);
    Schedule schedule{.num_chunks = num_ranks * chunks_per_rank,
                      .num_microbatches = num_microbatches,
                      .rank_of_chunk =
                          rank_of_chunks(Placement::looped, num_ranks, chunks_per_rank),
                      .actions = {}};
    const bool split = parts == BackwardParts::split;
    const std::int64_t per_rank_behind =
        1 + std::int64_t{useful_extra_warmup(chunks_per_rank, extra_warmup)};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank) {
        RankActions list(rank, num_ranks, num_microbatches, chunks_per_rank);
        const std::int64_t places = list.num_places();
        list.actions.reserve(static_cast<std::size_t>(split ? 3 : 2) *
                                 static_cast<std::size_t>(num_microbatches) *
                                 static_cast<std::size_t>(chunks_per_rank) +
                             1);
        const std::int64_t warmup =
            std::min(places, std::int64_t{num_ranks} * (chunks_per_rank - 1) +
                                 (num_ranks - 1 - rank) * per_rank_behind);
        const std::int64_t late = rank * per_rank_behind;
        for (std::int64_t place = 0; place < warmup; ++place)
            list.add(ActionKind::forward, place);
        for (std::int64_t place = 0; place < places; ++place) {
            if (place + warmup < places)
                list.add(ActionKind::forward, place + warmup);
            list.add(split ? ActionKind::backward_input : ActionKind::backward, place);
            if (split && place >= late)
                list.add(ActionKind::backward_weight, place - late);
        }
        for (std::int64_t place = std::max<std::int64_t>(0, places - late); split && place < places;
             ++place)
            list.add(ActionKind::backward_weight, place);
        list.actions.push_back({ActionKind::optimizer_step, 0, 0});
        schedule.actions.push_back(std::move(list.actions));
    }
    return schedule;
}

} // namespace sluice
