// Keeps the host near a GPU. The host queues work far ahead of it, and what it decides by what has
// come by then is decided too early.
#pragma once

#include "core/device.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace sluice {

class GpuEvent;

class HostPace {
public:
    /// `most_steps` that the host may be ahead. Nothing on CPUs, where work is done when it is
    /// asked for.
    HostPace(const Stream& stream, std::size_t most_steps);
    ~HostPace();
    HostPace(const HostPace&) = delete;
    HostPace& operator=(const HostPace&) = delete;

    /// A step's work is queued. With `keep`, blocks until the GPU has done the one that was queued
    /// `most_steps` before.
    void step(bool keep);

private:
    Stream stream_;
    std::vector<std::unique_ptr<GpuEvent>> done_; ///< of the last steps, in turns
    std::size_t num_steps_ = 0;
};

} // namespace sluice
