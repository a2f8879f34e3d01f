#include "core/cuda/memory.hpp"

#include "core/cuda/checked_call.hpp"
#include "core/cuda/gpu.hpp"
#include "core/error.hpp"

namespace sluice {

namespace {

std::string mebibytes(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

} // namespace

void DeviceMemory::Release::operator()(void* memory) const { cudaFree(memory); }
void PinnedMemory::Release::operator()(void* memory) const { cudaFreeHost(memory); }

DeviceMemory::DeviceMemory(std::size_t num_bytes) : num_bytes_(num_bytes)
{
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, num_bytes);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw usage_error(
            "cannot reserve " + mebibytes(num_bytes) + " on the GPU, which has " +
                mebibytes(free_gpu_bytes()) + " free",
            "", "take a smaller micro-batch or a smaller model; in training, or more stages");
    }
    check_cuda(status, "cudaMalloc", __FILE__, __LINE__);
    owned_.reset(memory);
}

void DeviceMemory::clear() const
{
    SLUICE_CUDA_CALL(cudaMemset(data(), 0, num_bytes_));
    SLUICE_CUDA_CALL(cudaDeviceSynchronize()); // cudaMemset may return before it is done
}

PinnedMemory::PinnedMemory(std::size_t num_bytes) : num_bytes_(num_bytes)
{
    void* memory = nullptr;
    const cudaError_t status = cudaMallocHost(&memory, num_bytes);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw usage_error("cannot lock " + mebibytes(num_bytes) + " of this machine's memory", "",
                          "raise the limit of locked memory (ulimit -l), or use fewer ranks here");
    }
    check_cuda(status, "cudaMallocHost", __FILE__, __LINE__);
    owned_.reset(memory);
}

} // namespace sluice
