#include "core/cuda/checked_call.hpp"

#include "core/cuda/gpu.hpp"
#include "core/error.hpp"

namespace sluice {

UserError out_of_gpu_memory(const std::string& call)
{
    cudaGetLastError(); // a library's call may have left it
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    return usage_error(
        "the GPU's memory is used up (" + std::to_string(free >> 20) + " of " +
            std::to_string(total >> 20) + " MiB free) in " + call,
        "", "take a smaller micro-batch or a smaller model; in training, or more stages");
}

void check_cuda(cudaError_t status, const char* call, const char* file, int line)
{
    if (status == cudaSuccess)
        return;
    cudaGetLastError(); // or the next call would report it again
    switch (status) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
        throw usage_error("this machine has no usable NVIDIA GPU (" + why_no_gpu() + ")",
                          "run.device",
                          "write run.device = \"cpu\", or run where a GPU and its driver are");
    case cudaErrorMemoryAllocation: throw out_of_gpu_memory(call);
    case cudaErrorDevicesUnavailable:
        throw UserError(ExitCode::peer,
                        "this GPU takes no further process: another one has it to itself, or its "
                        "compute mode takes none",
                        "run.device",
                        "see nvidia-smi; start one rank per GPU, on GPUs that are free, or have "
                        "the compute mode set to Default");
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsServerNotReady:
    case cudaErrorMpsMaxClientsReached:
    case cudaErrorMpsMaxConnectionsReached:
        throw UserError(ExitCode::peer,
                        std::string("this machine's GPUs cannot be used: ") +
                            cudaGetErrorString(status),
                        "run.device",
                        "see nvidia-smi and the services behind GPUs there (driver, fabric "
                        "manager, MPS), or run on another node");
    default: break;
    }
    std::ostringstream message;
    message << "the GPU failed: " << cudaGetErrorString(status) << " (" << cudaGetErrorName(status)
            << ") in " << call << " at " << file << ":" << line;
    throw PeerError(message.str());
}

} // namespace sluice
