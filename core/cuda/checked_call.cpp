#include "core/cuda/checked_call.hpp"

#include "core/cuda/gpu.hpp"
#include "core/error.hpp"

namespace sluice {

void check_cuda(cudaError_t status, const char* call, const char* file, int line)
{
    switch (status) {
    case cudaSuccess: return;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
        throw usage_error("this machine has no usable NVIDIA GPU (" + why_no_gpu() + ")",
                          "[run] device",
                          "set [run] device = \"cpu\", or run where a GPU and its driver are");
    default: break;
    }
    std::ostringstream message;
    message << "the GPU failed: " << cudaGetErrorString(status) << " (" << cudaGetErrorName(status)
            << ") in " << call << " at " << file << ":" << line;
    throw PeerError(message.str());
}

} // namespace sluice
