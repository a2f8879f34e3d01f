#include "pipeline/transport/staging_lanes.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {

constexpr MessageId staged_mark = MessageId{1} << 62;

} // namespace

StagingLanes::StagingLanes(const Stream& compute)
    : compute_(compute), out_(compute.device, StreamPriority::high, 0),
      in_(compute.device, StreamPriority::high, 0), messages_(staged_mark)
{
}

StagingLanes::~StagingLanes() = default;

void StagingLanes::reserve(std::size_t count, std::size_t num_bytes)
{
    while (buffers_.size() < count)
        buffers_.push_back(std::make_unique<StagingBuffer>(num_bytes));
}

/// The smallest that is free and large enough; where there is none, a new one.
StagingBuffer& StagingLanes::take_buffer(std::size_t num_bytes)
{
    StagingBuffer* found = nullptr;
    for (const auto& buffer : buffers_) {
        if (buffer->taken || buffer->memory.num_bytes() < num_bytes ||
            (found != nullptr && found->memory.num_bytes() <= buffer->memory.num_bytes()))
            continue;
        if (buffer->copying_in && !buffer->copied.reached())
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

std::size_t StagingLanes::begin(Transport& host, const TensorView& tensor, int peer,
                                MessageLabel label)
{
    StagingBuffer& buffer = take_buffer(tensor.num_bytes());
    TensorView on_host = tensor;
    on_host.data = buffer.memory.data();
    on_host.device = {};
    const std::size_t index = messages_.add();
    messages_[index] = {.host = &host,
                        .buffer = &buffer,
                        .on_gpu = tensor,
                        .on_host = on_host,
                        .label = label,
                        .peer = peer};
    return index;
}

MessageId StagingLanes::send(Transport& host, const TensorView& tensor, int to_rank,
                             MessageLabel label)
{
    const std::size_t index = begin(host, tensor, to_rank, label);
    StagingBuffer& buffer = *messages_[index].buffer;
    buffer.copied.record(compute_);
    buffer.copied.hold_back(out_.stream());
    out_.copy(buffer.memory.data(), tensor.data, tensor.num_bytes());
    buffer.copied.record(out_.stream());
    to_start_.push_back(index);
    return messages_.id_of(index);
}

MessageId StagingLanes::receive(Transport& host, const TensorView& tensor, int from_rank,
                                MessageLabel label)
{
    const std::size_t index = begin(host, tensor, from_rank, label);
    StagedMessage& message = messages_[index];
    message.receiving = true;
    message.buffer->memory_free.record(compute_);
    message.started = host.receive(message.on_host, from_rank, label);
    return messages_.id_of(index);
}

void StagingLanes::progress()
{
    while (!to_start_.empty() && messages_[to_start_.front()].buffer->copied.reached()) {
        StagedMessage& message = messages_[to_start_.front()];
        message.started = message.host->send(message.on_host, message.peer, message.label);
        under_way_.push_back(to_start_.front());
        to_start_.pop_front();
    }
    std::erase_if(under_way_, [this](std::size_t index) {
        StagedMessage& message = messages_[index];
        if (!message.waited_for || !message.host->is_done(message.started))
            return false;
        message.host->wait(message.started);
        release(index);
        return true;
    });
}

void StagingLanes::start_all()
{
    while (!to_start_.empty()) {
        messages_[to_start_.front()].buffer->copied.wait();
        progress();
    }
}

void StagingLanes::finish(const Transport& host)
{
    start_all();
    std::erase_if(under_way_, [&](std::size_t index) {
        StagedMessage& message = messages_[index];
        if (message.host != &host)
            return false;
        message.host->wait(message.started);
        release(index);
        return true;
    });
}

void StagingLanes::arrive(StagedMessage& message)
{
    StagingBuffer& buffer = *message.buffer;
    if (!message.host->is_done(message.started))
        start_all(); // who sends it may wait for one of these
    message.host->wait(message.started);
    buffer.memory_free.hold_back(in_.stream());
    in_.copy(message.on_gpu.data, buffer.memory.data(), message.on_gpu.num_bytes());
    buffer.copied.record(in_.stream());
    buffer.copied.hold_back(compute_);
    buffer.copying_in = true;
}

void StagingLanes::wait(MessageId id)
{
    const std::size_t index = messages_.index_of(id);
    if (messages_[index].receiving) {
        arrive(messages_[index]);
        release(index);
        return;
    }
    // What overwrites the tensor comes by way of the computing stream; the buffer goes on alone.
    messages_[index].buffer->copied.hold_back(compute_);
    messages_[index].waited_for = true;
    progress();
}

bool StagingLanes::is_done(MessageId id)
{
    progress();
    const StagedMessage& message = messages_[messages_.index_of(id)];
    return message.receiving ? message.host->is_done(message.started)
                             : message.buffer->copied.reached();
}

void StagingLanes::release(std::size_t index)
{
    messages_[index].buffer->taken = false;
    messages_.remove(index);
}

} // namespace sluice
