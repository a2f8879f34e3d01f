// Interleaved 1F1B: Narayanan et al., "Efficient large-scale language model training on GPU
// clusters using Megatron-LM", arXiv:2104.04473. Zero bubble: Qi et al., "Zero bubble pipeline
// parallelism", arXiv:2401.10241; ZB-H1 is one chunk per rank.
//
// Forwards go in rounds: P micro-batches (or some more, where M is not a multiple of P) through the
// rank's first chunk, the same through its second, and so on; input gradients likewise from the
// last chunk to the first. After its warm-up a rank alternates between the two sequences.
// Neighbours' warm-ups differ by one forward, as in 1F1B: Megatron's differ by two, which hides
// transfers (extra_warmup = 1) but, where transfers cost nothing, takes P-1 more activations for
// the same idle time.
//
// With split backward passes rank i has i forwards less before its first input gradient than rank 0
// and spends that memory on weight gradients that wait: each comes i (1 + extra_warmup) input
// gradients late, so that the last ranks answer sooner and every rank has work left while the
// pipeline drains.

#include "pipeline/schedule/interleaved.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/placement.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sluice {

namespace {

/// How the micro-batches are dealt into rounds: the first `num_larger` have size + 1. Places behind
/// the last micro-batch are left out: what remains keeps the order, and with it all that makes
/// whole rounds finish.
struct Rounds {
    std::int32_t count = 1, size = 1, num_larger = 0;
    std::int32_t largest() const { return size + (num_larger > 0 ? 1 : 0); }
};

/// Rounds of at least P micro-batches idle least, but larger ones keep more activations: P-1 more
/// are granted (what Megatron's warm-up takes); otherwise the last round stays short.
Rounds deal(std::int32_t num_ranks, std::int32_t num_microbatches, std::int32_t chunks_per_rank)
{
    const std::int32_t count = std::max(1, num_microbatches / num_ranks);
    const Rounds even{count, num_microbatches / count, num_microbatches % count};
    const std::int64_t more = (chunks_per_rank - 1) * (std::int64_t{even.largest()} - num_ranks);
    if (more <= num_ranks - 1)
        return even;
    return {(num_microbatches + num_ranks - 1) / num_ranks, num_ranks, 0};
}

/// One rank's actions.
class RankActions {
public:
    RankActions(std::int32_t rank, const Schedule& sizes, const Rounds& rounds)
        : rank_(rank), num_ranks_(static_cast<std::int32_t>(sizes.actions.size())),
          num_microbatches_(sizes.num_microbatches),
          chunks_per_rank_(sizes.num_chunks / num_ranks_), rounds_(rounds)
    {
    }

    /// Places in the sequence of forwards, or of backwards.
    std::int64_t num_places() const
    {
        return (std::int64_t{rounds_.count} * rounds_.size + rounds_.num_larger) * chunks_per_rank_;
    }

    void add(ActionKind kind, std::int64_t place)
    {
        std::int64_t size = rounds_.size + 1, before = 0;
        const std::int64_t in_larger = rounds_.num_larger * size;
        if (place >= in_larger * chunks_per_rank_) {
            place -= in_larger * chunks_per_rank_;
            before = in_larger;
            --size;
        }
        const std::int64_t in_round = place % (size * chunks_per_rank_);
        const std::int64_t microbatch =
            before + place / (size * chunks_per_rank_) * size + in_round % size;
        if (microbatch >= num_microbatches_)
            return;
        const auto turn = static_cast<std::int32_t>(in_round / size);
        const std::int32_t own = kind == ActionKind::forward ? turn : chunks_per_rank_ - 1 - turn;
        actions.push_back({kind, own * num_ranks_ + rank_, static_cast<std::int32_t>(microbatch)});
    }

    std::vector<Action> actions;

private:
    std::int32_t rank_, num_ranks_, num_microbatches_, chunks_per_rank_;
    Rounds rounds_;
};

/// Forwards ahead of the first backward, and how many input gradients late weight gradients come.
void fill(RankActions& list, std::int64_t warmup, BackwardParts parts, std::int64_t late)
{
    const std::int64_t places = list.num_places();
    const bool split = parts == BackwardParts::split;
    warmup = std::min(warmup, places);
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
}

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
    Schedule schedule{
        .num_chunks = num_ranks * chunks_per_rank,
        .num_microbatches = num_microbatches,
        .rank_of_chunk = rank_of_chunks(Placement::looped, num_ranks, chunks_per_rank),
        .actions = std::vector<std::vector<Action>>(static_cast<std::size_t>(num_ranks))};
    const Rounds rounds = deal(num_ranks, num_microbatches, chunks_per_rank);
    const std::int64_t per_rank_behind =
        1 + std::int64_t{useful_extra_warmup(chunks_per_rank, extra_warmup)};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank) {
        RankActions list(rank, schedule, rounds);
        list.actions.reserve((parts == BackwardParts::split ? 3 : 2) *
                                 static_cast<std::size_t>(num_microbatches) *
                                 static_cast<std::size_t>(chunks_per_rank) +
                             1);
        fill(list,
             std::int64_t{rounds.largest()} * (chunks_per_rank - 1) +
                 (num_ranks - 1 - rank) * per_rank_behind,
             parts, rank * per_rank_behind);
        schedule.actions[static_cast<std::size_t>(rank)] = std::move(list.actions);
    }
    return schedule;
}

std::int32_t live_activations_of_interleaved(std::int32_t num_ranks, std::int32_t num_microbatches,
                                             std::int32_t chunks_per_rank,
                                             std::int32_t extra_warmup)
{
    const std::int64_t round = deal(num_ranks, num_microbatches, chunks_per_rank).largest();
    const std::int64_t most =
        (chunks_per_rank - 1) * round + num_ranks +
        (num_ranks - 1) * std::int64_t{useful_extra_warmup(chunks_per_rank, extra_warmup)};
    return static_cast<std::int32_t>(
        std::min(most, std::int64_t{chunks_per_rank} * num_microbatches));
}

} // namespace sluice
