#include "pipeline/transport/gpu_lanes.hpp"

#include "core/error.hpp"
#include "core/wait_attendant.hpp"

namespace sluice {

namespace {

constexpr MessageId lanes_mark = MessageId{1} << 62;

} // namespace

GpuLanes::GpuLanes(const Stream& compute) : compute_(compute), messages_(lanes_mark) {}

std::size_t GpuLanes::begin(Transport& host, const TensorView& tensor, int peer, MessageLabel label,
                            bool receiving)
{
    const std::size_t index = messages_.add();
    GpuMessage& message = messages_[index];
    message.host = &host;
    message.on_gpu = message.handed_over = tensor;
    message.label = label;
    message.peer = peer;
    message.receiving = receiving;
    message.started = 0;
    message.buffer = nullptr;
    message.waited_for = false;
    return index;
}

void GpuLanes::start(GpuMessage& message)
{
    message.started = message.receiving
                          ? message.host->receive(message.handed_over, message.peer, message.label)
                          : message.host->send(message.handed_over, message.peer, message.label);
}

void GpuLanes::progress()
{
    while (!to_start_.empty() && messages_[to_start_.front()].may_start->reached()) {
        start(messages_[to_start_.front()]);
        to_start_.pop_front();
    }
}

void GpuLanes::start_all()
{
    while (!to_start_.empty()) {
        wait_for(*messages_[to_start_.front()].may_start, compute_);
        GpuLanes::progress();
    }
}

void GpuLanes::finish(GpuMessage& message)
{
    // Who is at the other end may wait for one that the GPU has not come to yet.
    while (!to_start_.empty() &&
           !(message.started != 0 && message.host->is_done(message.started))) {
        progress();
        message.host->progress();
    }
    message.host->wait(message.started);
}

} // namespace sluice
