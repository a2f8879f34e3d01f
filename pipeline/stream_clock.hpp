// When a GPU comes to marks in its stream, on the host's clock.
//
// The host only queues work, so its own clock says nothing about when it is done. A mark is queued
// like work; its time is read later, when it is reached.
#pragma once

#include "core/device.hpp"
#include "pipeline/clock_alignment.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

class GpuEvent;

class StreamClock {
public:
    /// `most_marks`: between two readings.
    StreamClock(const Stream& stream, std::size_t most_marks);
    ~StreamClock();
    StreamClock(const StreamClock&) = delete;
    StreamClock& operator=(const StreamClock&) = delete;

    /// Its time begins here, at 0. Blocks until the stream is empty, and compares the clocks.
    void start();
    void mark();
    bool full() const { return num_marks_ + 1 == events_.size(); }
    /// Blocks until the last mark is reached. Nanoseconds since start() of each mark since the last
    /// reading, in order; valid until the next one.
    const std::vector<std::int64_t>& read();
    /// With every mark read. Blocks until the stream is empty, and compares the clocks again: what
    /// moves times since start() to the host's steady clock.
    ClockAlignment stop();

private:
    ClockOffset compare_with_host();

    Stream stream_;
    std::vector<std::unique_ptr<GpuEvent>> events_; ///< [1 + most_marks]; first: last one read
    std::size_t num_marks_ = 0;                     ///< not read yet
    std::int64_t read_ns_ = 0;                      ///< time of events_[0]
    std::vector<std::int64_t> times_;
    ClockOffset begin_;
};

} // namespace sluice
