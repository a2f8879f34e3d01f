// Adds sends and receives to a schedule of compute actions, whatever its family.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"

#include <algorithm>
#include <map>
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
        if (consumes_activation(action.kind) && schedule_.crosses(action.chunk - 1))
            return Action{ActionKind::receive_activation, action.chunk, action.microbatch};
        if (produces_input_gradient(action.kind) && schedule_.crosses(action.chunk))
            return Action{ActionKind::receive_gradient, action.chunk, action.microbatch};
        return std::nullopt;
    }

    std::optional<Action> send_behind(const Action& action) const
    {
        if (consumes_activation(action.kind) && schedule_.crosses(action.chunk))
            return Action{ActionKind::send_activation, action.chunk, action.microbatch};
        if (produces_input_gradient(action.kind) && schedule_.crosses(action.chunk - 1))
            return Action{ActionKind::send_gradient, action.chunk, action.microbatch};
        return std::nullopt;
    }

private:
    const Schedule& schedule_;
};

struct PostedReceive {
    std::size_t in_front_of = 0; ///< position among the rank's compute actions
    Action receive;
};

/// The receive for compute[i] `receive_ahead` actions in front of it, or of the first; in the order
/// of posting.
std::vector<PostedReceive> receives_of(const Lowering& lowering, const std::vector<Action>& compute,
                                       std::int32_t receive_ahead)
{
    std::vector<PostedReceive> receives;
    receives.reserve(compute.size());
    for (std::size_t i = 0; i < compute.size(); ++i)
        if (const auto receive = lowering.receive_before(compute[i]))
            receives.push_back(
                {i - std::min(i, static_cast<std::size_t>(receive_ahead)), *receive});
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
        SLUICE_CHECK(!is_message(compute[i].kind), "already has " << text_of(compute[i]));
        for (; next != receives.end() && next->in_front_of <= i; ++next)
            actions.push_back(next->receive);
        actions.push_back(compute[i]);
        if (const auto send = lowering.send_behind(compute[i]))
            actions.push_back(*send);
    }
    actions.shrink_to_fit();
    return actions;
}

Schedule sizes_of(const Schedule& schedule)
{
    return {.num_chunks = schedule.num_chunks,
            .num_microbatches = schedule.num_microbatches,
            .rank_of_chunk = schedule.rank_of_chunk,
            .actions = std::vector<std::vector<Action>>(schedule.actions.size())};
}

/// Which of its rank's actions each message is sent behind, by the (chunk, micro-batch) it goes to.
class SendPositions {
public:
    explicit SendPositions(const Schedule& schedule)
        : schedule_(schedule), activations_(schedule.num_entries()),
          gradients_(schedule.num_entries())
    {
        for (const auto& actions : schedule.actions)
            for (std::size_t i = 0; i < actions.size(); ++i) {
                const auto& [kind, chunk, microbatch] = actions[i];
                if (consumes_activation(kind) && chunk + 1 < schedule.num_chunks)
                    activations_[schedule.entry(chunk + 1, microbatch)] = i;
                if (produces_input_gradient(kind) && chunk > 0)
                    gradients_[schedule.entry(chunk - 1, microbatch)] = i;
            }
    }

    std::size_t of(const Action& receive) const
    {
        const auto& positions =
            receive.kind == ActionKind::receive_gradient ? gradients_ : activations_;
        return positions[schedule_.entry(receive.chunk, receive.microbatch)];
    }

private:
    const Schedule& schedule_;
    std::vector<std::size_t> activations_, gradients_;
};

/// Whether a rank has several chunks whose messages come from one and the same rank.
bool edges_join_the_same_ranks(const Schedule& schedule)
{
    std::set<std::pair<std::int32_t, std::int32_t>> joined;
    for (std::int32_t chunk = 0; chunk + 1 < schedule.num_chunks; ++chunk)
        if (schedule.crosses(chunk) &&
            !joined.emplace(schedule.rank_of_chunk[chunk], schedule.rank_of_chunk[chunk + 1])
                 .second)
            return true;
    return false;
}

/// Messages of one kind from one rank are received in the order in which that rank sends them: what
/// was sent first is posted no later than what was sent behind it.
void keep_the_order_of_sends(std::vector<PostedReceive>& receives, const Schedule& schedule,
                             const SendPositions& positions)
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
    std::stable_sort(receives.begin(), receives.end(),
                     [](const PostedReceive& a, const PostedReceive& b) {
                         return a.in_front_of < b.in_front_of;
                     });
}

} // namespace

Schedule with_communication(const Schedule& schedule, std::int32_t receive_ahead)
{
    SLUICE_CHECK(receive_ahead >= 0, "receive_ahead " << receive_ahead);
    const Lowering lowering(schedule);
    Schedule lowered = sizes_of(schedule);
    std::optional<SendPositions> positions;
    if (edges_join_the_same_ranks(schedule))
        positions.emplace(schedule);
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
        const auto& compute = schedule.actions[rank];
        auto receives = receives_of(lowering, compute, receive_ahead);
        if (positions)
            keep_the_order_of_sends(receives, schedule, *positions);
        lowered.actions[rank] = lower_rank(lowering, compute, receives);
    }
    return lowered;
}

} // namespace sluice
