// The way between a GPU's memory and messages of host memory: locked buffers and two streams for
// copies, one each way, beside the stream that computes.
//
// A message out is copied behind what was computed before, and started once the copy is there. A
// message in is copied to the GPU behind whatever still read the memory when the receive was asked
// for.

#include "core/cuda/memory.hpp"
#include "core/error.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/transport/gpu_lanes.hpp"

#include <algorithm>
#include <vector>

namespace sluice {

struct StagingBuffer {
    explicit StagingBuffer(std::size_t num_bytes) : memory(num_bytes) {}
    PinnedMemory memory;
    GpuEvent copied_in;
    bool copying_in = false;
    bool taken = false;
};

namespace {

class StagingLanes final : public GpuLanes {
public:
    StagingLanes(const Stream& compute, StagingBuffers buffers)
        : GpuLanes(compute), out_(compute.device, StreamPriority::high, 0),
          in_(compute.device, StreamPriority::high, 0)
    {
        while (buffers_.size() < buffers.count)
            buffers_.push_back(std::make_unique<StagingBuffer>(buffers.num_bytes));
    }

    /// What is taken is still a message's: somebody has given up.
    ~StagingLanes() override
    {
        for (const auto& buffer : buffers_)
            if (buffer->taken ||
                (buffer->copying_in && !may_free_behind(buffer->copied_in, in_.stream())))
                buffer->memory.leave();
    }
    StagingLanes(const StagingLanes&) = delete;
    StagingLanes& operator=(const StagingLanes&) = delete;

    MessageId send(Transport& host, const TensorView& tensor, int to_rank,
                   MessageLabel label) override
    {
        const std::size_t index = begin_staged(host, tensor, to_rank, label, false);
        GpuEvent& copied_out = *messages_[index].may_start;
        copied_out.record(compute_);
        copied_out.hold_back(out_.stream());
        out_.copy(messages_[index].handed_over.data, tensor.data, tensor.num_bytes());
        copied_out.record(out_.stream());
        start_later(index);
        sends_.push_back(index);
        return messages_.id_of(index);
    }

    MessageId receive(Transport& host, const TensorView& tensor, int from_rank,
                      MessageLabel label) override
    {
        const std::size_t index = begin_staged(host, tensor, from_rank, label, true);
        messages_[index].may_start->record(compute_); // the copy in, not the message
        start(messages_[index]);
        return messages_.id_of(index);
    }

    void wait(MessageId id) override
    {
        const std::size_t index = messages_.index_of(id);
        if (messages_[index].receiving) {
            arrive(messages_[index]);
            release(index);
            return;
        }
        // What overwrites the tensor comes by way of the computing stream; the buffer goes on
        // alone.
        messages_[index].may_start->hold_back(compute_);
        messages_[index].waited_for = true;
        progress();
    }

    bool is_done(MessageId id) override
    {
        progress();
        const GpuMessage& message = messages_[messages_.index_of(id)];
        return message.receiving ? message.host->is_done(message.started)
                                 : message.may_start->reached();
    }

    /// Also takes back the buffers of sends that are through.
    void progress() override
    {
        GpuLanes::progress();
        std::erase_if(sends_, [this](std::size_t index) {
            GpuMessage& message = messages_[index];
            if (!message.waited_for || message.started == 0 ||
                !message.host->is_done(message.started))
                return false;
            message.host->wait(message.started);
            release(index);
            return true;
        });
    }

    void finish(const Transport& host) override
    {
        start_all();
        std::erase_if(sends_, [&](std::size_t index) {
            if (messages_[index].host != &host)
                return false;
            messages_[index].host->wait(messages_[index].started);
            release(index);
            return true;
        });
    }

private:
    /// The smallest that is free and large enough; where there is none, a new one.
    StagingBuffer& take_buffer(std::size_t num_bytes)
    {
        StagingBuffer* found = nullptr;
        for (const auto& buffer : buffers_) {
            if (buffer->taken || buffer->memory.num_bytes() < num_bytes ||
                (found != nullptr && found->memory.num_bytes() <= buffer->memory.num_bytes()))
                continue;
            if (buffer->copying_in && !buffer->copied_in.reached())
                continue;
            found = buffer.get();
        }
        if (found == nullptr) {
            buffers_.push_back(std::make_unique<StagingBuffer>(num_bytes));
            found = buffers_.back().get();
        }
        found->copying_in = false;
        found->taken = true;
        return *found;
    }

    std::size_t begin_staged(Transport& host, const TensorView& tensor, int peer,
                             MessageLabel label, bool receiving)
    {
        StagingBuffer& buffer = take_buffer(tensor.num_bytes());
        const std::size_t index = begin(host, tensor, peer, label, receiving);
        GpuMessage& message = messages_[index];
        message.buffer = &buffer;
        message.handed_over.data = buffer.memory.data();
        message.handed_over.device = {};
        return index;
    }

    void arrive(GpuMessage& message)
    {
        GpuLanes::finish(message);
        message.may_start->hold_back(in_.stream());
        in_.copy(message.on_gpu.data, message.handed_over.data, message.on_gpu.num_bytes());
        StagingBuffer& buffer = *message.buffer;
        buffer.copied_in.record(in_.stream());
        buffer.copied_in.hold_back(compute_);
        buffer.copying_in = true;
    }

    void release(std::size_t index)
    {
        messages_[index].buffer->taken = false;
        messages_.remove(index);
    }

    GpuStream out_, in_;
    std::vector<std::unique_ptr<StagingBuffer>> buffers_;
    std::vector<std::size_t> sends_; ///< whose buffers are not back yet
};

} // namespace

std::shared_ptr<GpuLanes> make_staging_lanes(const Stream& compute, StagingBuffers buffers)
{
    return std::make_shared<StagingLanes>(compute, buffers);
}

} // namespace sluice
