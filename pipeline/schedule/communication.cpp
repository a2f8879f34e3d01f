// Adds sends and receives to a schedule of compute actions, whatever its family.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

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

struct PostedReceive {
    std::size_t in_front_of = 0; ///< position among the rank's compute actions
    Action receive;
};

void sort_by_position(std::vector<PostedReceive>& receives)
{
    const auto earlier = [](const PostedReceive& a, const PostedReceive& b) {
        return a.in_front_of < b.in_front_of;
    };
    if (!std::is_sorted(receives.begin(), receives.end(), earlier))
        std::stable_sort(receives.begin(), receives.end(), earlier);
}

/// The receive for compute[i] in front of compute[post[i]], post[i] <= i; in the order of posting.
std::vector<PostedReceive> receives_of(const Lowering& lowering, const std::vector<Action>& compute,
                                       const std::vector<std::size_t>& post)
{
    std::vector<PostedReceive> receives;
    receives.reserve(compute.size());
    for (std::size_t i = 0; i < compute.size(); ++i)
        if (const auto receive = lowering.receive_before(compute[i]))
            receives.push_back({post[i], *receive});
    sort_by_position(receives);
    return receives;
}

/// One rank's actions with its sends and receives.
std::vector<Action> lower_rank(const Lowering& lowering, const std::vector<Action>& compute,
                               const std::vector<PostedReceive>& receives)
{
    std::vector<Action> actions;
    actions.reserve(3 * compute.size());
    auto next = receives.begin();
    for (std::size_t i = 0; i < compute.size(); ++i) {
        SLUICE_CHECK(compute[i].kind <= ActionKind::backward_weight ||
                         compute[i].kind == ActionKind::optimizer_step,
                     "already has " << text_of(compute[i]));
        for (; next != receives.end() && next->in_front_of <= i; ++next)
            actions.push_back(next->receive);
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

/// Each action's place in its rank's list, as SendTimes takes them.
std::vector<std::vector<double>> positions_in(const Schedule& schedule)
{
    std::vector<std::vector<double>> positions;
    for (const auto& actions : schedule.actions) {
        positions.emplace_back(actions.size());
        std::iota(positions.back().begin(), positions.back().end(), 0.0);
    }
    return positions;
}

/// Whether a rank has several chunks whose messages come from one and the same rank.
bool edges_join_the_same_ranks(const Schedule& schedule)
{
    std::set<std::pair<std::int32_t, std::int32_t>> joined;
    for (std::size_t chunk = 0; chunk + 1 < schedule.rank_of_chunk.size(); ++chunk) {
        const auto lower = schedule.rank_of_chunk[chunk], upper = schedule.rank_of_chunk[chunk + 1];
        if (lower != upper && !joined.emplace(lower, upper).second)
            return true;
    }
    return false;
}

/// Messages of one kind from one rank are received in the order in which that rank sends them: what
/// was sent first is posted no later than what was sent behind it.
void keep_the_order_of_sends(std::vector<PostedReceive>& receives, const Schedule& schedule,
                             const SendTimes& positions)
{
    std::map<std::pair<std::int32_t, bool>, std::vector<std::size_t>> ways; // indices, by sender
    for (std::size_t i = 0; i < receives.size(); ++i) {
        const Action& receive = receives[i].receive;
        const bool gradient = receive.kind == ActionKind::receive_gradient;
        ways[{schedule.rank_of_chunk[receive.chunk + (gradient ? 1 : -1)], gradient}].push_back(i);
    }
    for (const auto& [way, indices] : ways) {
        std::vector<PostedReceive> sent_first;
        for (const std::size_t i : indices)
            sent_first.push_back(receives[i]);
        std::sort(sent_first.begin(), sent_first.end(),
                  [&](const PostedReceive& a, const PostedReceive& b) {
                      return positions.of(a.receive) < positions.of(b.receive);
                  });
        for (std::size_t k = sent_first.size(); k-- > 1;)
            sent_first[k - 1].in_front_of =
                std::min(sent_first[k - 1].in_front_of, sent_first[k].in_front_of);
        for (std::size_t k = 0; k < indices.size(); ++k)
            receives[indices[k]] = sent_first[k];
    }
    sort_by_position(receives);
}

} // namespace

Schedule with_communication(const Schedule& schedule, std::int32_t receive_ahead)
{
    SLUICE_CHECK(receive_ahead >= 0, "receive_ahead " << receive_ahead);
    const Lowering lowering(schedule);
    Schedule lowered = sizes_of(schedule);
    std::optional<SendTimes> positions;
    if (edges_join_the_same_ranks(schedule))
        positions.emplace(schedule, positions_in(schedule));
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
        const auto& compute = schedule.actions[rank];
        auto receives = receives_of(lowering, compute, posts_ahead(compute.size(), receive_ahead));
        if (positions)
            keep_the_order_of_sends(receives, schedule, *positions);
        lowered.actions[rank] = lower_rank(lowering, compute, receives);
    }
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
        lowered.actions[rank] = lower_rank(lowering, compute, receives_of(lowering, compute, post));
    }
    return lowered;
}

} // namespace sluice
