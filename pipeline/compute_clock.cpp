#include "pipeline/compute_clock.hpp"

#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/steady_clock.hpp"

#include <chrono>
#include <thread>

namespace sluice {

ComputeClock::ComputeClock(const Stream& stream, std::size_t most_stretches) : stream_(stream)
{
    if (stream.device.kind == DeviceKind::cuda)
        for (std::size_t i = 0; i < 2 * most_stretches; ++i)
            marks_.push_back(std::make_unique<GpuEvent>(EventTiming::enabled));
}

ComputeClock::~ComputeClock() = default;

void ComputeClock::reset()
{
    since_ns_ = total_ns_ = 0;
    num_marks_ = 0;
}

void ComputeClock::start()
{
    since_ns_ = steady_now_ns();
    if (marks_.empty())
        return;
    SLUICE_CHECK(num_marks_ + 2 <= marks_.size(), "more than " << marks_.size() / 2);
    marks_[num_marks_]->record(stream_);
}

void ComputeClock::stop()
{
    if (since_ns_ == 0)
        return;
    if (marks_.empty()) {
        stop_on_host();
    } else {
        marks_[num_marks_ + 1]->record(stream_);
        num_marks_ += 2;
    }
    since_ns_ = 0;
}

void ComputeClock::stop_on_host()
{
    const std::int64_t spent_ns = steady_now_ns() - since_ns_;
    if (slowed_by_ > 1.0)
        std::this_thread::sleep_for(std::chrono::nanoseconds(
            static_cast<std::int64_t>((slowed_by_ - 1.0) * static_cast<double>(spent_ns))));
    total_ns_ += steady_now_ns() - since_ns_;
}

double ComputeClock::seconds() const
{
    if (num_marks_ > 0)
        wait_for(*marks_[num_marks_ - 1], stream_);
    double seconds = 1e-9 * static_cast<double>(total_ns_);
    for (std::size_t i = 0; i < num_marks_; i += 2)
        seconds += 1e-3 * marks_[i + 1]->milliseconds_since(*marks_[i]);
    return seconds;
}

} // namespace sluice
