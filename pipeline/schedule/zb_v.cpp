// ZB-V: Qi et al., "Zero bubble pipeline parallelism", arXiv:2401.10241, section 6.
//
// With F = I = W = 1 every rank is busy from its first forward on. Rank i runs forwards of its
// first chunk until the first micro-batch has been to the last rank and back, then both chunks'
// forwards by turns, then the second chunk alone, whose input gradients come back from rank 0 as
// fast as its forwards go there. From then on each round does everything once for both chunks. In
// the end weight gradients are put off, for input gradients are what other ranks wait for.

#include "core/error.hpp"
#include "pipeline/schedule/placement.hpp"
#include "pipeline/schedule/v_shape.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// One rank's actions of one chunk. The rounds are made for at least 2P-1 micro-batches; those that
/// there are not leave their places out.
class ChunkActions {
public:
    ChunkActions(std::vector<Action>& actions, std::int32_t chunk, std::int32_t num_microbatches)
        : actions_(actions), chunk_(chunk), num_microbatches_(num_microbatches)
    {
    }

    void forward() { add(ActionKind::forward, forwards_); }
    void input() { add(ActionKind::backward_input, inputs_); }
    void weight() { add(ActionKind::backward_weight, weights_); }
    std::int64_t forwards() const { return forwards_; }
    std::int64_t weights_due() const { return inputs_ - weights_; }

private:
    void add(ActionKind kind, std::int64_t& next)
    {
        if (next < num_microbatches_)
            actions_.push_back({kind, chunk_, static_cast<std::int32_t>(next)});
        ++next;
    }

    std::vector<Action>& actions_;
    std::int32_t chunk_, num_microbatches_;
    std::int64_t forwards_ = 0, inputs_ = 0, weights_ = 0;
};

std::vector<Action> rank_actions(std::int32_t rank, std::int32_t num_ranks,
                                 std::int32_t num_microbatches)
{
    std::vector<Action> actions;
    actions.reserve(6 * static_cast<std::size_t>(num_microbatches) + 1);
    ChunkActions down(actions, rank, num_microbatches);
    ChunkActions up(actions, 2 * num_ranks - 1 - rank, num_microbatches);
    const std::int64_t behind = num_ranks - rank; // this rank and those behind it
    const std::int64_t total =
        std::max<std::int64_t>(num_microbatches, 2 * std::int64_t{num_ranks} - 1);
    for (std::int64_t i = 0; i < 2 * behind - 1; ++i)
        down.forward();
    for (std::int64_t i = 0; i < rank; ++i) {
        up.forward();
        down.forward();
    }
    for (std::int64_t i = 0; i < behind; ++i) {
        up.forward();
        up.input();
        up.weight();
    }
    while (up.forwards() < total) {
        if (down.forwards() < total)
            down.forward();
        down.input();
        down.weight();
        up.forward();
        up.input();
        up.weight();
    }
    for (std::int64_t i = 0; i < rank; ++i) {
        down.input();
        up.input();
    }
    for (std::int64_t i = 0; i < behind; ++i) {
        down.input();
        down.weight();
    }
    while (up.weights_due() > 0)
        up.weight();
    while (down.weights_due() > 0)
        down.weight();
    actions.push_back({ActionKind::optimizer_step, 0, 0});
    return actions;
}

} // namespace

Schedule make_zb_v(std::int32_t num_ranks, std::int32_t num_microbatches)
{
    SLUICE_CHECK(num_ranks >= 1 && num_microbatches >= 1,
                 num_ranks << " ranks, " << num_microbatches << " micro-batches");
    Schedule schedule{.num_chunks = 2 * num_ranks,
                      .num_microbatches = num_microbatches,
                      .rank_of_chunk = rank_of_chunks(Placement::v_shape, num_ranks, 2),
                      .actions = {}};
    for (std::int32_t rank = 0; rank < num_ranks; ++rank)
        schedule.actions.push_back(rank_actions(rank, num_ranks, num_microbatches));
    return schedule;
}

} // namespace sluice
