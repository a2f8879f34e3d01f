#include "pipeline/action_recorder.hpp"

#include "core/error.hpp"

#include <chrono>

namespace sluice {

std::int64_t steady_now_ns()
{
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

ActionRecorder::ActionRecorder(std::size_t most_spans, Now now) : now_(now)
{
    spans_.reserve(most_spans);
}

void ActionRecorder::start()
{
    spans_.clear();
    updates_.clear();
    push({now_(), -1, Activity::other});
}

void ActionRecorder::begin_update(std::int64_t update)
{
    SLUICE_CHECK(updates_.empty() || updates_.back().end_span != 0, "update " << update);
    // A span of its own, so that nothing in front of the update counts.
    push({now_(), -1, Activity::other});
    updates_.push_back({update, spans_.size() - 1, 0});
}

void ActionRecorder::end_update()
{
    SLUICE_CHECK(!updates_.empty() && updates_.back().end_span == 0, "no update has begun");
    push({now_(), -1, Activity::other});
    updates_.back().end_span = spans_.size() - 1;
}

void ActionRecorder::stop() { push({now_(), -1, Activity::other}); }

} // namespace sluice
