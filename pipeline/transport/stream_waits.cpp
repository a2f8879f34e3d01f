#include "pipeline/transport/stream_waits.hpp"

#include "pipeline/transport/transport.hpp"

#include <utility>

namespace sluice {

StreamWaits::StreamWaits(const Stream& compute, RankActivity* activity)
    : WaitAttendant(compute), activity_(activity)
{
    while (marks_.size() < most)
        marks_.push_back(std::make_unique<Mark>());
}

StreamWaits::~StreamWaits() = default;

void StreamWaits::hold_back(const GpuEvent& done, const RankWait& whom)
{
    const bool in_group = whom.kind == WaitKind::collective;
    // A group is through as a whole: whatever comes behind its first mark waits no more.
    if (in_group && whom.collective.number <= newest_group_) {
        done.hold_back(stream());
        return;
    }
    if (in_group)
        newest_group_ = whom.collective.number;
    forget_past();
    if (count_ == most) {
        wait_for(oldest().past, stream());
        forget_past();
    }
    Mark& mark = *marks_[(first_ + count_) % most];
    mark.come_to.record(stream());
    done.hold_back(stream());
    mark.past.record(stream());
    mark.whom = whom;
    ++count_;
    presume();
}

void StreamWaits::follow()
{
    if (looking_)
        return;
    forget_past();
    presume();
}

void StreamWaits::forget_past()
{
    while (count_ > 0 && oldest().past.reached()) {
        first_ = (first_ + 1) % most;
        --count_;
    }
}

void StreamWaits::presume()
{
    if (activity_ != nullptr)
        activity_->presume(count_ > 0 ? oldest().whom : RankWait{});
}

/// Says only what is new: else a rank on one spot would seem to move.
void StreamWaits::look()
{
    const bool first = !std::exchange(looking_, true);
    for (Transport* const carrier : carriers_)
        carrier->progress();
    forget_past();
    const RankWait now = count_ > 0 && oldest().come_to.reached() ? oldest().whom : RankWait{};
    if (activity_ != nullptr && (first || now != published_))
        activity_->wait_for(now);
    published_ = now;
}

void StreamWaits::over() noexcept
{
    looking_ = false;
    if (activity_ != nullptr)
        activity_->go_on(); // what is left is for hold_back() and follow() to say
}

} // namespace sluice
