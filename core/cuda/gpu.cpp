#include "core/cuda/gpu.hpp"

#include "core/cuda/checked_call.hpp"
#include "core/driver_version.hpp"
#include "core/error.hpp"

#include <unistd.h>

namespace sluice {

namespace {

struct Count {
    int num_gpus = 0;
    cudaError_t status = cudaSuccess;
};

Count count_gpus()
{
    Count count;
    count.status = cudaGetDeviceCount(&count.num_gpus);
    if (count.status != cudaSuccess) {
        count.num_gpus = 0;
        cudaGetLastError(); // or the next call would report it again
    }
    return count;
}

void require_gpu(int index)
{
    const Count count = count_gpus();
    if (count.num_gpus == 0)
        check_cuda(count.status == cudaSuccess ? cudaErrorNoDevice : count.status,
                   "cudaGetDeviceCount", __FILE__, __LINE__);
    if (index < 0 || index >= count.num_gpus)
        throw usage_error("there is no GPU " + std::to_string(index) + "; this process sees " +
                              std::to_string(count.num_gpus),
                          "CUDA_VISIBLE_DEVICES",
                          "start no more ranks per machine than it has GPUs, or show it more");
}

std::string text_of(const cudaUUID_t& uuid)
{
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const char byte : uuid.bytes) {
        text += digits[(byte >> 4) & 15];
        text += digits[byte & 15];
    }
    return text;
}

struct Memory {
    std::size_t free = 0, total = 0;
};

Memory memory_of_current_gpu()
{
    require_gpu(0);
    Memory memory;
    SLUICE_CUDA_CALL(cudaMemGetInfo(&memory.free, &memory.total));
    return memory;
}

} // namespace

int num_gpus() { return count_gpus().num_gpus; }

std::string why_no_gpu()
{
    const Count count = count_gpus();
    if (count.num_gpus > 0)
        return {};
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return "no NVIDIA driver is loaded";
    if (count.status == cudaErrorInsufficientDriver)
        return why_driver_is_too_old(driver, CUDART_VERSION);
    return count.status == cudaSuccess ? "no GPU is visible" : cudaGetErrorString(count.status);
}

bool gpu_driver_is_loaded()
{
    int driver = 0;
    return (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) ||
           access("/dev/nvidiactl", F_OK) == 0;
}

GpuInfo gpu_info(int index)
{
    require_gpu(index);
    cudaDeviceProp properties{};
    SLUICE_CUDA_CALL(cudaGetDeviceProperties(&properties, index));
    char pci_bus[32] = "";
    SLUICE_CUDA_CALL(cudaDeviceGetPCIBusId(pci_bus, sizeof pci_bus, index));
    return {.name = properties.name,
            .uuid = text_of(properties.uuid),
            .pci_bus = pci_bus,
            .major = properties.major,
            .minor = properties.minor,
            .total_bytes = properties.totalGlobalMem,
            .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
}

Device use_gpu(int index)
{
    require_gpu(index);
    SLUICE_CUDA_CALL(cudaSetDevice(index));
    return {DeviceKind::cuda, index};
}

std::size_t free_gpu_bytes() { return memory_of_current_gpu().free; }

std::size_t used_gpu_bytes()
{
    const Memory memory = memory_of_current_gpu();
    return memory.total - memory.free;
}

} // namespace sluice
