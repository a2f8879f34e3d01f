#include "pipeline/rank_activity.hpp"

namespace sluice {

RankState RankActivity::state() const
{
    RankState state;
    state.changes = changes_.load(std::memory_order_acquire);
    state.update = update_;
    state.phase = phase_;
    if (state.phase != RankPhase::training && state.phase != RankPhase::evaluating)
        state.changes += file_steps_.load(std::memory_order_relaxed);
    state.activity = activity_;
    state.in_action = in_action_;
    state.action = {kind_, chunk_, microbatch_};
    state.wait = wait_;
    state.partner = partner_;
    state.collective = {first_, stride_, count_, communicator_, number_};
    state.at_files = at_files_;
    state.presumed = presumed_;
    return state;
}

} // namespace sluice
