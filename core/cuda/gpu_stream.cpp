#include "core/cuda/gpu_stream.hpp"

#include "core/cuda/checked_call.hpp"
#include "core/cuda/gpu.hpp"
#include "core/error.hpp"

#include <exception>

namespace sluice {

namespace {

cudaStream_t native(const Stream& stream)
{
    return static_cast<cudaStream_t>(GpuStream::of(stream).native());
}
cudaEvent_t native(void* event) { return static_cast<cudaEvent_t>(event); }

} // namespace

GpuStream::GpuStream(Device device, StreamPriority priority, std::size_t workspace_bytes)
    : device_(use_gpu(device.index))
{
    if (workspace_bytes > 0)
        workspace_ = DeviceMemory(workspace_bytes);
    int least = 0, greatest = 0;
    SLUICE_CUDA_CALL(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    cudaStream_t made = nullptr;
    SLUICE_CUDA_CALL(cudaStreamCreateWithPriority(
        &made, cudaStreamNonBlocking, priority == StreamPriority::high ? greatest : least));
    native_ = made;
}

/// What is queued may still use the workspaces, and goes on when the stream is destroyed.
GpuStream::~GpuStream()
{
    const auto stream = static_cast<cudaStream_t>(native_);
    if (workspace_.num_bytes() > 0 || !large_workspaces_.empty()) {
        // As core/wait_attendant.hpp has it.
        const bool fails = std::uncaught_exceptions() > 0;
        if ((fails ? cudaStreamQuery(stream) : cudaStreamSynchronize(stream)) != cudaSuccess) {
            cudaGetLastError();
            workspace_.leave();
            for (DeviceMemory& larger : large_workspaces_)
                larger.leave();
        }
    }
    cudaStreamDestroy(stream);
}

const GpuStream& GpuStream::of(const Stream& stream)
{
    if (stream.native == nullptr)
        use_gpu(stream.device.index); // throws where there is none
    SLUICE_CHECK(stream.native != nullptr && stream.backend == Backend::cuda,
                 "not the stream of a GpuStream");
    return *static_cast<const GpuStream*>(stream.native);
}

const DeviceMemory& GpuStream::large_workspace(std::size_t num_bytes) const
{
    if (large_workspaces_.empty() || large_workspaces_.back().num_bytes() < num_bytes)
        large_workspaces_.emplace_back(num_bytes);
    return large_workspaces_.back();
}

void GpuStream::synchronize() const
{
    SLUICE_CUDA_CALL(cudaStreamSynchronize(static_cast<cudaStream_t>(native_)));
}

void GpuStream::copy(void* to, const void* from, std::size_t num_bytes) const
{
    SLUICE_CUDA_CALL(cudaMemcpyAsync(to, from, num_bytes, cudaMemcpyDefault,
                                     static_cast<cudaStream_t>(native_)));
}

GpuEvent::GpuEvent(EventTiming timing)
{
    cudaEvent_t made = nullptr;
    SLUICE_CUDA_CALL(cudaEventCreateWithFlags(
        &made, timing == EventTiming::enabled ? cudaEventDefault : cudaEventDisableTiming));
    native_ = made;
}

GpuEvent::~GpuEvent() { cudaEventDestroy(native(native_)); }

void GpuEvent::record(const Stream& stream)
{
    SLUICE_CUDA_CALL(cudaEventRecord(native(native_), native(stream)));
}

void GpuEvent::hold_back(const Stream& stream) const
{
    SLUICE_CUDA_CALL(cudaStreamWaitEvent(native(stream), native(native_), 0));
}

bool GpuEvent::reached() const
{
    const cudaError_t status = cudaEventQuery(native(native_));
    if (status == cudaErrorNotReady) {
        cudaGetLastError(); // an answer, not an error: or the next launch would report it
        return false;
    }
    check_cuda(status, "cudaEventQuery", __FILE__, __LINE__);
    return true;
}

void GpuEvent::wait() const { SLUICE_CUDA_CALL(cudaEventSynchronize(native(native_))); }

double GpuEvent::milliseconds_since(const GpuEvent& earlier) const
{
    float milliseconds = 0.0F;
    SLUICE_CUDA_CALL(cudaEventElapsedTime(&milliseconds, native(earlier.native_), native(native_)));
    return milliseconds;
}

} // namespace sluice
