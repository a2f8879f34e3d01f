// Messages of a GPU's memory over a transport that knows no streams (MPI): each is handed over once
// the GPU has come to where that may be done, and not before.
//
// Messages that wait for the GPU start in the order of the calls, as equal labels match by order.
// The host waits for a GPU only where a message could not be started otherwise and somebody may be
// waiting for it. What is handed over and when is the business of StagingLanes and DirectLanes.
#pragma once

#include "core/cuda/gpu_stream.hpp"
#include "pipeline/transport/message_table.hpp"

#include <cstddef>
#include <deque>
#include <memory>

namespace sluice {

struct StagingBuffer;

/// `may_start` is made with the entry of the table, and stays with it.
struct GpuMessage {
    Transport* host = nullptr; ///< carries it
    TensorView on_gpu, handed_over;
    MessageLabel label;
    int peer = -1;
    bool receiving = false;
    MessageId started = 0; ///< of `host`; 0: not yet
    /// The GPU is done with what comes before: it has made what is sent, or has read what will be
    /// overwritten.
    std::unique_ptr<GpuEvent> may_start = std::make_unique<GpuEvent>();
    // In staging lanes:
    StagingBuffer* buffer = nullptr;
    bool waited_for = false;
};

/// Shared by a transport and the groups split from it: what one holds back would stop another.
class GpuLanes {
public:
    /// `compute` must outlive it.
    explicit GpuLanes(const Stream& compute);
    virtual ~GpuLanes() = default;
    GpuLanes(const GpuLanes&) = delete;
    GpuLanes& operator=(const GpuLanes&) = delete;

    /// Whether it is a message of these lanes, and not of a transport of host memory.
    bool has(MessageId id) const { return messages_.has(id); }
    virtual MessageId send(Transport& host, const TensorView& tensor, int to_rank,
                           MessageLabel label) = 0;
    virtual MessageId receive(Transport& host, const TensorView& tensor, int from_rank,
                              MessageLabel label) = 0;
    virtual void wait(MessageId id) = 0;
    virtual bool is_done(MessageId id) = 0;

    /// Starts what the GPU has come to.
    virtual void progress();
    /// Blocks until everything has been started: before anything that waits for others.
    void start_all();
    /// Blocks until those that `host` carries are through.
    virtual void finish(const Transport& host) = 0;

protected:
    std::size_t begin(Transport& host, const TensorView& tensor, int peer, MessageLabel label,
                      bool receiving);
    /// Once its turn has come and its event is reached.
    void start_later(std::size_t index) { to_start_.push_back(index); }
    void start(GpuMessage& message);
    /// Blocks until its transport is done with it, and lets others start meanwhile.
    void finish(GpuMessage& message);

    Stream compute_;
    MessageTable<GpuMessage> messages_;

private:
    std::deque<std::size_t> to_start_; ///< in the order of the calls
};

/// By way of locked host memory, in `count` buffers of that size, so that none has to be made while
/// training runs.
std::shared_ptr<GpuLanes> make_staging_lanes(const Stream& compute, StagingBuffers buffers);
/// As they lie in the GPU's memory: the transport of the host must take that.
std::shared_ptr<GpuLanes> make_direct_lanes(const Stream& compute);

} // namespace sluice
