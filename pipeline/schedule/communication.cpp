// Adds sends and receives to a schedule of compute actions, whatever its family.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

namespace sluice {

namespace {

bool consumes_activation(ActionKind kind) { return kind == ActionKind::forward; }
bool produces_input_gradient(ActionKind kind)
{
    return kind == ActionKind::backward || kind == ActionKind::backward_input;
}

class Lowering {
public:
    explicit Lowering(const Schedule& schedule) : schedule_(schedule) {}

    /// The receive that `action` waits for, if its input comes from another rank.
    std::optional<Action> receive_before(const Action& action) const
    {
        if (consumes_activation(action.kind) && crosses(action.chunk - 1))
            return Action{ActionKind::receive_activation, action.chunk, action.microbatch};
        if (produces_input_gradient(action.kind) && crosses(action.chunk))
            return Action{ActionKind::receive_gradient, action.chunk, action.microbatch};
        return std::nullopt;
    }

    std::optional<Action> send_behind(const Action& action) const
    {
        if (consumes_activation(action.kind) && crosses(action.chunk))
            return Action{ActionKind::send_activation, action.chunk, action.microbatch};
        if (produces_input_gradient(action.kind) && crosses(action.chunk - 1))
            return Action{ActionKind::send_gradient, action.chunk, action.microbatch};
        return std::nullopt;
    }

private:
    /// Whether the edge between `chunk` and the next one joins two ranks.
    bool crosses(std::int32_t chunk) const
    {
        return chunk >= 0 && chunk + 1 < schedule_.num_chunks &&
               schedule_.rank_of_chunk[chunk] != schedule_.rank_of_chunk[chunk + 1];
    }

    const Schedule& schedule_;
};

/// When each compute action ends where forward, input gradient and weight gradient take one unit
/// each and transfers none: [rank][position].
std::vector<std::vector<double>> unit_ends(const Schedule& schedule)
{
    std::vector<std::vector<double>> ends;
    for (const auto& actions : schedule.actions)
        ends.emplace_back(actions.size());
    const std::vector<ChunkCosts> costs(static_cast<std::size_t>(schedule.num_chunks),
                                        ChunkCosts{1.0, 1.0, 1.0, 0.0});
    const auto stuck = run_timeline(schedule, costs, SendRule::non_blocking,
                                    [&](std::int32_t rank, std::size_t position, ActionTime time) {
                                        ends[static_cast<std::size_t>(rank)][position] = time.end;
                                    });
    SLUICE_CHECK(stuck.empty(), "rank " << stuck[0].rank << " waits for " << stuck[0].waits_for);
    return ends;
}

/// One rank's actions with its sends, and the receive for compute[i] in front of compute[post[i]],
/// post[i] <= i.
std::vector<Action> lower_rank(const Lowering& lowering, const std::vector<Action>& compute,
                               const std::vector<std::size_t>& post)
{
    std::vector<std::size_t> consumers(compute.size()); // in the order of their receives
    std::iota(consumers.begin(), consumers.end(), std::size_t{0});
    const auto earlier = [&](std::size_t a, std::size_t b) { return post[a] < post[b]; };
    if (!std::is_sorted(consumers.begin(), consumers.end(), earlier))
        std::stable_sort(consumers.begin(), consumers.end(), earlier);
    std::vector<Action> actions;
    actions.reserve(3 * compute.size());
    auto consumer = consumers.begin();
    for (std::size_t i = 0; i < compute.size(); ++i) {
        SLUICE_CHECK(compute[i].kind <= ActionKind::backward_weight ||
                         compute[i].kind == ActionKind::optimizer_step,
                     "already has " << text_of(compute[i]));
        for (; consumer != consumers.end() && post[*consumer] <= i; ++consumer)
            if (const auto receive = lowering.receive_before(compute[*consumer]))
                actions.push_back(*receive);
        actions.push_back(compute[i]);
        if (const auto send = lowering.send_behind(compute[i]))
            actions.push_back(*send);
    }
    actions.shrink_to_fit();
    return actions;
}

/// `receive_ahead` actions in front of each, or the first.
std::vector<std::size_t> posts_ahead(std::size_t num_actions, std::int32_t receive_ahead)
{
    std::vector<std::size_t> post(num_actions);
    for (std::size_t i = 0; i < num_actions; ++i)
        post[i] = i - std::min(i, static_cast<std::size_t>(receive_ahead));
    return post;
}

Schedule sizes_of(const Schedule& schedule)
{
    return {.num_chunks = schedule.num_chunks,
            .num_microbatches = schedule.num_microbatches,
            .rank_of_chunk = schedule.rank_of_chunk,
            .actions = std::vector<std::vector<Action>>(schedule.actions.size())};
}

/// When each message is sent in an order of the whole schedule: by the (chunk, micro-batch) it goes
/// to.
struct SendTimes {
    SendTimes(const Schedule& schedule, const std::vector<std::vector<double>>& ends)
        : microbatches(static_cast<std::size_t>(schedule.num_microbatches)),
          activations(static_cast<std::size_t>(schedule.num_chunks) * microbatches),
          gradients(activations.size())
    {
        for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank)
            for (std::size_t i = 0; i < schedule.actions[rank].size(); ++i) {
                const Action& action = schedule.actions[rank][i];
                if (consumes_activation(action.kind) && action.chunk + 1 < schedule.num_chunks)
                    activations[entry(action.chunk + 1, action.microbatch)] = ends[rank][i];
                if (produces_input_gradient(action.kind) && action.chunk > 0)
                    gradients[entry(action.chunk - 1, action.microbatch)] = ends[rank][i];
            }
    }
    std::size_t entry(std::int32_t chunk, std::int32_t microbatch) const
    {
        return static_cast<std::size_t>(chunk) * microbatches +
               static_cast<std::size_t>(microbatch);
    }
    double of(const Action& receive) const
    {
        return (receive.kind == ActionKind::receive_gradient
                    ? gradients
                    : activations)[entry(receive.chunk, receive.microbatch)];
    }

    std::size_t microbatches;
    std::vector<double> activations, gradients;
};

} // namespace

Schedule with_communication(const Schedule& schedule, std::int32_t receive_ahead)
{
    SLUICE_CHECK(receive_ahead >= 0, "receive_ahead " << receive_ahead);
    const Lowering lowering(schedule);
    Schedule lowered = sizes_of(schedule);
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank)
        lowered.actions[rank] =
            lower_rank(lowering, schedule.actions[rank],
                       posts_ahead(schedule.actions[rank].size(), receive_ahead));
    return lowered;
}

Schedule with_communication_for_blocking_sends(const Schedule& schedule, std::int32_t receive_ahead)
{
    SLUICE_CHECK(receive_ahead >= 0, "receive_ahead " << receive_ahead);
    const Lowering lowering(schedule);
    const auto ends = unit_ends(schedule);
    const SendTimes sent(schedule, ends);
    Schedule lowered = sizes_of(schedule);
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
        const auto& compute = schedule.actions[rank];
        std::vector<std::size_t> post = posts_ahead(compute.size(), receive_ahead);
        for (std::size_t i = 0; i < compute.size(); ++i)
            if (const auto receive = lowering.receive_before(compute[i])) {
                const auto not_yet =
                    std::lower_bound(ends[rank].begin(), ends[rank].end(), sent.of(*receive)) -
                    ends[rank].begin();
                post[i] = std::min(post[i], static_cast<std::size_t>(not_yet));
            }
        lowered.actions[rank] = lower_rank(lowering, compute, post);
    }
    return lowered;
}

} // namespace sluice
