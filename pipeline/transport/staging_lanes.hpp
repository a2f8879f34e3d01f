// The way between a GPU's memory and messages of host memory: locked buffers and two streams for
// copies, one each way, beside the stream that computes.
//
// A message out is copied behind what was computed before, and started once the copy is there,
// always in the order of the calls, as equal labels match by order. A message in is copied to the
// GPU behind whatever still read the memory when the receive was asked for. The host waits for a
// GPU only where a message could not be started otherwise and somebody may be waiting for it.
#pragma once

#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "pipeline/transport/message_table.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

namespace sluice {

struct StagingBuffer {
    explicit StagingBuffer(std::size_t num_bytes) : memory(num_bytes) {}
    PinnedMemory memory;
    GpuEvent memory_free; ///< on the computing stream, when a receive was asked for
    GpuEvent copied;      ///< out to the buffer, or in to the GPU
    bool copying_in = false;
    bool taken = false;
};

struct StagedMessage {
    Transport* host = nullptr; ///< carries it
    StagingBuffer* buffer = nullptr;
    TensorView on_gpu, on_host;
    MessageLabel label;
    int peer = -1;
    bool receiving = false;
    MessageId started = 0; ///< of `host`; 0: a send whose copy is not known to be there
    bool waited_for = false;
};

/// Shared by a transport and the groups split from it: what one holds back would stop another.
class StagingLanes {
public:
    /// `compute` must outlive it.
    explicit StagingLanes(const Stream& compute);
    ~StagingLanes();

    /// Takes `count` buffers of that size, so that none has to be made while training runs.
    void reserve(std::size_t count, std::size_t num_bytes);

    /// Whether it is a message of these lanes, and not of a transport of host memory.
    bool has(MessageId id) const { return messages_.has(id); }
    MessageId send(Transport& host, const TensorView& tensor, int to_rank, MessageLabel label);
    MessageId receive(Transport& host, const TensorView& tensor, int from_rank, MessageLabel label);
    void wait(MessageId id);
    bool is_done(MessageId id);

    /// Starts the sends whose copies are there, takes back the buffers of those that are through.
    void progress();
    /// Blocks until every send has been started: before anything that waits for others.
    void start_all();
    /// Blocks until those that `host` carries are through.
    void finish(const Transport& host);

private:
    StagingBuffer& take_buffer(std::size_t num_bytes);
    std::size_t begin(Transport& host, const TensorView& tensor, int peer, MessageLabel label);
    void arrive(StagedMessage& message);
    void release(std::size_t index);

    Stream compute_;
    GpuStream out_, in_;
    std::vector<std::unique_ptr<StagingBuffer>> buffers_;
    MessageTable<StagedMessage> messages_;
    std::deque<std::size_t> to_start_;   ///< sends, in the order of the calls
    std::vector<std::size_t> under_way_; ///< sends that were started
};

} // namespace sluice
