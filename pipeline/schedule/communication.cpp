// Adds sends and receives to a schedule of compute actions, whatever its family.

#include "core/error.hpp"
#include "pipeline/schedule/schedule.hpp"

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

} // namespace

Schedule with_communication(const Schedule& schedule, std::int32_t receive_ahead)
{
    SLUICE_CHECK(receive_ahead >= 0, "receive_ahead " << receive_ahead);
    const Lowering lowering(schedule);
    Schedule lowered = schedule;
    for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank) {
        const auto& compute = schedule.actions[rank];
        auto& actions = lowered.actions[rank];
        actions.clear();
        actions.reserve(3 * compute.size());
        std::size_t posted = 0; // receives of compute[0, posted) are posted
        for (std::size_t i = 0; i < compute.size(); ++i) {
            SLUICE_CHECK(compute[i].kind <= ActionKind::backward_weight ||
                             compute[i].kind == ActionKind::optimizer_step,
                         "already has " << text_of(compute[i]));
            for (; posted < compute.size() && posted <= i + static_cast<std::size_t>(receive_ahead);
                 ++posted)
                if (const auto receive = lowering.receive_before(compute[posted]))
                    actions.push_back(*receive);
            actions.push_back(compute[i]);
            if (const auto send = lowering.send_behind(compute[i]))
                actions.push_back(*send);
        }
        actions.shrink_to_fit();
    }
    return lowered;
}

} // namespace sluice
