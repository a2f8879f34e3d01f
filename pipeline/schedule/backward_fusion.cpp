#include "pipeline/schedule/backward_fusion.hpp"

#include <cstddef>

namespace sluice {

void fuse_backwards(Schedule& schedule)
{
    const auto answers_at_once = [&](std::int32_t chunk) {
        return chunk > 0 && schedule.rank_of_chunk[static_cast<std::size_t>(chunk)] !=
                                schedule.rank_of_chunk[static_cast<std::size_t>(chunk) - 1];
    };
    for (auto& actions : schedule.actions) {
        std::size_t kept = 0;
        for (const Action& action : actions) {
            if (action.kind == ActionKind::backward_weight && kept > 0 &&
                actions[kept - 1] ==
                    Action{ActionKind::backward_input, action.chunk, action.microbatch} &&
                !answers_at_once(action.chunk))
                actions[kept - 1].kind = ActionKind::backward;
            else
                actions[kept++] = action;
        }
        actions.resize(kept);
    }
}

} // namespace sluice
