#include "pipeline/action_recorder.hpp"

#include "core/error.hpp"
#include "pipeline/stream_clock.hpp"

namespace sluice {

ActionRecorder::ActionRecorder(std::size_t most_spans, Now now) : now_(now)
{
    spans_.reserve(most_spans);
}

ActionRecorder::ActionRecorder(std::size_t most_spans, const Stream& stream,
                               std::size_t most_spans_per_update)
    : ActionRecorder(most_spans)
{
    if (stream.device.kind == DeviceKind::cuda)
        stream_clock_ = std::make_unique<StreamClock>(stream, most_spans_per_update);
}

ActionRecorder::~ActionRecorder() = default;

void ActionRecorder::start()
{
    spans_.clear();
    updates_.clear();
    num_timed_ = 0;
    if (stream_clock_)
        stream_clock_->start();
    push(-1, Activity::other);
}

void ActionRecorder::begin_update(std::int64_t update)
{
    SLUICE_CHECK(updates_.empty() || updates_.back().end_span != 0, "update " << update);
    // A span of its own, so that nothing in front of the update counts.
    push(-1, Activity::other);
    updates_.push_back({update, spans_.size() - 1, 0});
}

void ActionRecorder::end_update()
{
    SLUICE_CHECK(!updates_.empty() && updates_.back().end_span == 0, "no update has begun");
    push(-1, Activity::other);
    updates_.back().end_span = spans_.size() - 1;
    read_marks();
}

void ActionRecorder::stop()
{
    push(-1, Activity::other);
    if (!stream_clock_)
        return;
    read_marks();
    const ClockAlignment clock = stream_clock_->stop();
    for (ActivitySpan& span : spans_)
        span.begin_ns = clock.to_reference(span.begin_ns);
    uncertainty_ns_ = clock.uncertainty_ns();
}

void ActionRecorder::push(std::int32_t action, Activity activity)
{
    last_ = {stream_clock_ ? 0 : now_(), action, activity};
    spans_.push_back(last_);
    if (stream_clock_) {
        stream_clock_->mark();
        if (stream_clock_->full())
            read_marks();
    }
}

void ActionRecorder::read_marks()
{
    if (!stream_clock_)
        return;
    for (const std::int64_t time_ns : stream_clock_->read())
        spans_[num_timed_++].begin_ns = time_ns;
}

} // namespace sluice
