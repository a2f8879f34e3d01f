// Queues of work on a GPU, and the marks that order them.
#pragma once

#include "core/cuda/memory.hpp"
#include "core/device.hpp"

#include <cstddef>
#include <vector>

namespace sluice {

class WaitAttendant;

enum class StreamPriority { usual, high };

/// A CUDA stream on the current GPU, and the scratch memory that operations launched on it share.
class GpuStream {
public:
    /// Enough for cuBLASLt on every GPU and for the partial sums of our own kernels.
    static constexpr std::size_t usual_workspace_bytes = std::size_t{64} << 20;

    /// A transfer stream needs no workspace (0). Throws UserError (usage) when there is no GPU.
    explicit GpuStream(Device device, StreamPriority priority = StreamPriority::usual,
                       std::size_t workspace_bytes = usual_workspace_bytes);
    /// Waits for its work, where that may use a workspace and no exception is on its way.
    ~GpuStream();
    GpuStream(const GpuStream&) = delete;
    GpuStream& operator=(const GpuStream&) = delete;

    /// What kernels are launched on; must not outlive this object.
    Stream stream() const
    {
        return {.backend = Backend::cuda,
                .device = device_,
                .native = const_cast<GpuStream*>(this)}; // as `native` has it: nothing is changed
    }
    /// The GpuStream behind a stream of a GPU. Throws UserError (usage) where there is no GPU.
    static const GpuStream& of(const Stream& stream);

    /// cudaStream_t.
    void* native() const { return native_; }
    const DeviceMemory& workspace() const { return workspace_; }
    /// At least `num_bytes` of scratch memory for operations for which the workspace is too small;
    /// they share it. Taken when it is first asked for, so not while work is captured, and kept as
    /// long as the stream, for graphs may hold its address.
    const DeviceMemory& large_workspace(std::size_t num_bytes) const;
    /// Blocks the host until everything queued so far is done. Throws PeerError when any of it
    /// failed.
    void synchronize() const;
    /// Queues a copy in either direction; host memory should be PinnedMemory, or the call blocks.
    void copy(void* to, const void* from, std::size_t num_bytes) const;

    /// nullptr: nobody looks on while the host waits. Not owned.
    WaitAttendant* attendant() const { return attendant_; }
    void attend(WaitAttendant* attendant) const { attendant_ = attendant; }

private:
    Device device_;
    DeviceMemory workspace_;
    mutable std::vector<DeviceMemory> large_workspaces_; ///< the last is the largest
    mutable WaitAttendant* attendant_ = nullptr;         ///< by any copy of stream()
    void* native_ = nullptr;
};

/// Whether an event remembers when it was reached, which costs the GPU something.
enum class EventTiming { disabled, enabled };

/// A mark in a stream that other streams and the host can wait for.
class GpuEvent {
public:
    explicit GpuEvent(EventTiming timing = EventTiming::disabled);
    ~GpuEvent();
    GpuEvent(const GpuEvent&) = delete;
    GpuEvent& operator=(const GpuEvent&) = delete;

    void record(const Stream& stream);
    /// Later work on `stream` waits until the mark is reached; the host does not.
    void hold_back(const Stream& stream) const;
    bool reached() const;
    /// Blocks the host, unattended: see wait_for() in core/wait_attendant.hpp.
    void wait() const;
    /// Of two with timing, both reached.
    double milliseconds_since(const GpuEvent& earlier) const;

private:
    void* native_ = nullptr;
};

} // namespace sluice
