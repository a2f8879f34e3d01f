#include "pipeline/host_pace.hpp"

#include "core/cuda/gpu_stream.hpp"
#include "core/wait_attendant.hpp"

namespace sluice {

HostPace::HostPace(const Stream& stream, std::size_t most_steps) : stream_(stream)
{
    if (stream.device.kind == DeviceKind::cuda)
        for (std::size_t i = 0; i < most_steps; ++i)
            done_.push_back(std::make_unique<GpuEvent>());
}

HostPace::~HostPace() = default;

void HostPace::step(bool keep)
{
    if (done_.empty())
        return;
    GpuEvent& oldest = *done_[num_steps_ % done_.size()];
    if (keep && num_steps_ >= done_.size())
        wait_for(oldest, stream_);
    oldest.record(stream_);
    ++num_steps_;
}

} // namespace sluice
