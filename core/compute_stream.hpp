// The queue a rank computes on, and moving tensors between the memories of host and device.
#pragma once

#include "core/tensor_view.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

class GpuStream;

/// Owns the stream of a GPU; on CPUs there is nothing to own.
class ComputeStream {
public:
    /// Makes the real stream for `planned`, which only says where. Throws UserError (usage) when
    /// the GPU or memory for the stream's workspace is not there.
    explicit ComputeStream(const Stream& planned);
    ~ComputeStream();
    ComputeStream(const ComputeStream&) = delete;
    ComputeStream& operator=(const ComputeStream&) = delete;

    /// Must not outlive this object.
    const Stream& stream() const { return stream_; }

private:
    Stream stream_;
    std::unique_ptr<GpuStream> gpu_;
};

/// Queues a copy of a tensor's bytes to another tensor of as many bytes; each may lie in any memory
/// that `stream` reaches. On CPUs it is done on return; on GPUs host memory stays untouched until
/// synchronize(). From a GPU into host memory that is not locked it waits, unattended.
void copy(const Stream& stream, const TensorView& from, const TensorView& to);

/// Blocks the host until everything queued so far is done; meanwhile the stream's WaitAttendant
/// looks after what the GPU waits for. Throws PeerError when the device failed.
void synchronize(const Stream& stream);

/// A tensor where the host can read and write it: the tensor itself in host memory, a copy of one
/// in a device's. Blocks; for saves, checks and drills, not for updates.
class HostCopy {
public:
    enum class Begin : bool {
        empty, ///< to be filled: old values are not fetched
        fetched,
    };
    HostCopy(const Stream& stream, const TensorView& tensor, Begin begin = Begin::fetched);

    const TensorView& view() const { return view_; }
    std::span<const std::byte> bytes() const
    {
        return {static_cast<const std::byte*>(view_.data), view_.num_bytes()};
    }
    /// What the host wrote goes to where the tensor is.
    void write_back() const;

private:
    Stream stream_;
    TensorView tensor_;
    std::vector<std::byte> memory_; ///< empty where the host reaches the tensor itself
    TensorView view_;
};

} // namespace sluice
