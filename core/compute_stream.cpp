#include "core/compute_stream.hpp"

#include "core/cuda/gpu_stream.hpp"

#include <cstring>

namespace sluice {

ComputeStream::ComputeStream(const Stream& planned) : stream_(planned)
{
    if (planned.device.kind != DeviceKind::cuda)
        return;
    gpu_ = std::make_unique<GpuStream>(planned.device);
    stream_ = gpu_->stream();
    stream_.tf32 = planned.tf32;
    stream_.cudnn_attention = planned.cudnn_attention;
}

ComputeStream::~ComputeStream() = default;

void copy(const Stream& stream, const TensorView& from, const TensorView& to)
{
    SLUICE_CHECK(from.num_bytes() == to.num_bytes(), from.num_bytes()
                                                         << " bytes to " << to.num_bytes());
    if (from.num_bytes() == 0)
        return;
    if (stream.device.kind == DeviceKind::cuda)
        GpuStream::of(stream).copy(to.data, from.data, from.num_bytes());
    else
        std::memcpy(to.data, from.data, from.num_bytes());
}

HostCopy::HostCopy(const Stream& stream, const TensorView& tensor, Begin begin)
    : stream_(stream), tensor_(tensor), view_(tensor)
{
    if (tensor.device.kind == DeviceKind::cpu)
        return;
    memory_.resize(tensor.num_bytes());
    view_.data = memory_.data();
    view_.device = {};
    if (begin == Begin::empty)
        return;
    synchronize(stream_); // attended: the copy would wait within CUDA, as this memory is not locked
    copy(stream_, tensor_, view_);
    synchronize(stream_);
}

void HostCopy::write_back() const
{
    if (memory_.empty())
        return;
    copy(stream_, view_, tensor_);
    synchronize(stream_);
}

} // namespace sluice
