#include "pipeline/stream_clock.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/steady_clock.hpp"

#include <array>
#include <cmath>
#include <utility>

namespace sluice {

StreamClock::StreamClock(const Stream& stream, std::size_t most_marks) : stream_(stream)
{
    SLUICE_CHECK(most_marks > 0, "a clock without marks");
    for (std::size_t i = 0; i < most_marks + 1; ++i)
        events_.push_back(std::make_unique<GpuEvent>(EventTiming::enabled));
    times_.reserve(most_marks);
}

StreamClock::~StreamClock() = default;

void StreamClock::start()
{
    synchronize(stream_);
    events_[0]->record(stream_);
    num_marks_ = 0;
    read_ns_ = 0;
    begin_ = compare_with_host();
}

void StreamClock::mark()
{
    SLUICE_CHECK(!full(), "more than " << num_marks_ << " marks");
    events_[++num_marks_]->record(stream_);
}

const std::vector<std::int64_t>& StreamClock::read()
{
    times_.clear();
    if (num_marks_ == 0)
        return times_;
    wait_for(*events_[num_marks_], stream_);
    // CUDA tells times in milliseconds as a float: from mark to mark nothing is lost in it.
    for (std::size_t i = 1; i <= num_marks_; ++i) {
        read_ns_ += std::llround(1e6 * events_[i]->milliseconds_since(*events_[i - 1]));
        times_.push_back(read_ns_);
    }
    std::swap(events_[0], events_[std::exchange(num_marks_, 0)]);
    return times_;
}

ClockAlignment StreamClock::stop()
{
    SLUICE_CHECK(num_marks_ == 0, num_marks_ << " marks are not read");
    synchronize(stream_);
    return {begin_, compare_with_host()};
}

/// A mark in an empty stream is reached between being queued and being waited for.
ClockOffset StreamClock::compare_with_host()
{
    std::array<RoundTrip, 16> trips;
    for (RoundTrip& trip : trips) {
        trip.sent_ns = steady_now_ns();
        mark();
        events_[num_marks_]->wait();
        trip.returned_ns = steady_now_ns();
        trip.answered_ns = read().back();
    }
    return estimate_offset(trips);
}

} // namespace sluice
