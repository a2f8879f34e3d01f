// How long a rank computes, waiting left out: by the clock on CPUs, by marks in the stream on GPUs,
// where the host only queues the work.
#pragma once

#include "core/device.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

class GpuEvent;

class ComputeClock {
public:
    /// `most_stretches`: between two resets.
    ComputeClock(const Stream& stream, std::size_t most_stretches);
    ~ComputeClock();
    ComputeClock(const ComputeClock&) = delete;
    ComputeClock& operator=(const ComputeClock&) = delete;

    void reset();
    void start();
    /// Ends the stretch, if one has begun.
    void stop();
    /// For drills: from now on a stretch takes `factor` times as long (CPUs only).
    void slow_down(double factor) { slowed_by_ = factor; }

    /// Of all stretches since reset(). On GPUs blocks until the last is done.
    double seconds() const;

private:
    void stop_on_host();

    Stream stream_;
    std::int64_t since_ns_ = 0; ///< 0: no stretch has begun
    std::int64_t total_ns_ = 0;
    double slowed_by_ = 1.0;
    std::vector<std::unique_ptr<GpuEvent>> marks_; ///< [2 * most_stretches]: begin and end
    std::size_t num_marks_ = 0;
};

} // namespace sluice
