#include "pipeline/transport/staging_lanes.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Sets these ids apart from those of a transport of host memory.
constexpr MessageId staged_bit = MessageId{1} << 62;

} // namespace

bool is_staged(MessageId id) { return (id & staged_bit) != 0; }

StagingLanes::StagingLanes(const Stream& compute)
    : compute_(compute), out_(compute.device, StreamPriority::high, 0),
      in_(compute.device, StreamPriority::high, 0)
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
    if (free_.empty()) {
        messages_.emplace_back();
        free_.push_back(messages_.size() - 1);
    }
    const std::size_t index = free_.back();
    free_.pop_back();
    StagedMessage& message = messages_[index];
    const std::int32_t use = (message.use + 1) & 0x1fffffff;
    StagingBuffer& buffer = take_buffer(tensor.num_bytes());
    TensorView on_host = tensor;
    on_host.data = buffer.memory.data();
    on_host.device = {};
    message = {.host = &host,
               .buffer = &buffer,
               .on_gpu = tensor,
               .on_host = on_host,
               .label = label,
               .peer = peer,
               .active = true,
               .use = use};
    return index;
}

MessageId StagingLanes::id_of(std::size_t index) const
{
    return staged_bit | (MessageId{messages_[index].use} << 32) | static_cast<MessageId>(index + 1);
}

std::size_t StagingLanes::index_of(MessageId id) const
{
    const auto index = static_cast<std::size_t>((id & 0xffffffff) - 1);
    SLUICE_CHECK(index < messages_.size() && messages_[index].active &&
                     messages_[index].use == ((id & ~staged_bit) >> 32),
                 "message " << id << " is not under way");
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
    return id_of(index);
}

MessageId StagingLanes::receive(Transport& host, const TensorView& tensor, int from_rank,
                                MessageLabel label)
{
    const std::size_t index = begin(host, tensor, from_rank, label);
    StagedMessage& message = messages_[index];
    message.receiving = true;
    message.buffer->memory_free.record(compute_);
    message.started = host.receive(message.on_host, from_rank, label);
    return id_of(index);
}

void StagingLanes::start(StagedMessage& message)
{
    message.started = message.host->send(message.on_host, message.peer, message.label);
}

void StagingLanes::progress()
{
    while (!to_start_.empty() && messages_[to_start_.front()].buffer->copied.reached()) {
        start(messages_[to_start_.front()]);
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
    const std::size_t index = index_of(id);
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
    const StagedMessage& message = messages_[index_of(id)];
    return message.receiving ? message.host->is_done(message.started)
                             : message.buffer->copied.reached();
}

void StagingLanes::release(std::size_t index)
{
    messages_[index].buffer->taken = false;
    messages_[index].active = false;
    free_.push_back(index);
}

} // namespace sluice
