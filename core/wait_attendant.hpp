// What else the host does while it waits for a GPU.
//
// The GPU may itself be waiting, for messages of other ranks: somebody who knows of these must look
// after them meanwhile, for they may never come.
#pragma once

#include "core/device.hpp"

#include <memory>

namespace sluice {

class GpuEvent;

/// Called wherever the thread that queues a stream's work waits for the stream. At most one for
/// each stream; other threads wait for events of their own, unattended.
class WaitAttendant {
public:
    /// `stream`: of a GPU, and outlives it.
    explicit WaitAttendant(const Stream& stream);
    virtual ~WaitAttendant();
    WaitAttendant(const WaitAttendant&) = delete;
    WaitAttendant& operator=(const WaitAttendant&) = delete;

    const Stream& stream() const { return stream_; }

    /// Again and again, until the wait is over. What it throws ends the wait.
    virtual void look() = 0;
    /// Behind a wait in which look() was called.
    virtual void over() noexcept = 0;

private:
    friend void synchronize(const Stream& stream);
    Stream stream_;
    std::unique_ptr<GpuEvent> end_; ///< of what is queued when the host waits for all of it
};

/// Blocks the host until the mark is reached. It lies in `stream`, or in a stream that this one
/// waits for. Throws PeerError when the device failed.
void wait_for(const GpuEvent& mark, const Stream& stream);

// For destructors, before they free memory that queued work uses: CUDA need not wait for it then.

/// Blocks until the mark is reached, which `stream` comes to. False where it may not be: while an
/// exception is on its way nobody waits, as what the GPU waits for may never come. The memory must
/// then be left (core/cuda/memory.hpp).
bool may_free_behind(const GpuEvent& mark, const Stream& stream) noexcept;
/// Blocks until everything queued so far is done, but for exceptions as above. Nothing on CPUs.
void drain(const Stream& stream) noexcept;

} // namespace sluice
