// Starts kernels of device_language.cuh on a GPU.
#pragma once

#include "core/cuda/checked_call.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/device.hpp"
#include "core/error.hpp"
#include "layers/kernels/cuda/device_language.cuh"

#include <algorithm>
#include <cuda_runtime.h>

namespace sluice::kernels::nvidia {

/// Shared memory of a multiprocessor in KiB (CUDA C++ Programming Guide, "Technical Specifications
/// per Compute Capability"); a block takes one more than it asks for.
constexpr int shared_kib_of_multiprocessor()
{
    if (architecture == 80 || architecture == 87)
        return 164;
    if (architecture == 86 || architecture == 89 || architecture >= 120)
        return 100;
    return 228;
}

/// A kernel may say how many of its blocks should fit on a multiprocessor; 0 leaves it to the
/// compiler. Registers are not spared for blocks that find no room in shared memory: sm_120 has
/// less than half of what sm_90 has.
template <class Kernel>
constexpr int min_blocks_of()
{
    if constexpr (requires {
                      Kernel::min_blocks;
                      sizeof(typename Kernel::Shared);
                  }) {
        constexpr int bytes_of_block = static_cast<int>(sizeof(typename Kernel::Shared)) + 1024;
        return std::clamp((shared_kib_of_multiprocessor() << 10) / bytes_of_block, 1,
                          Kernel::min_blocks);
    } else if constexpr (requires { Kernel::min_blocks; })
        return Kernel::min_blocks;
    else
        return 0;
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::num_threads, min_blocks_of<Kernel>())
    execute(const __grid_constant__ Kernel kernel)
{
    kernel();
}

class DeviceLauncher {
public:
    /// Throws UserError where there is no GPU.
    explicit DeviceLauncher(const Stream& stream) : stream_(GpuStream::of(stream)) {}

    template <class Kernel>
    void operator()(const Kernel& kernel, Grid grid, std::size_t shared_bytes = 0) const
    {
        SLUICE_CHECK(grid.x >= 0 && grid.x < (std::int64_t{1} << 31) && grid.y >= 0 &&
                         grid.y < 65536,
                     "grid " << grid.x << " by " << grid.y);
        if (grid.x == 0 || grid.y == 0)
            return;
        SLUICE_CHECK(shared_bytes <= most_shared_bytes,
                     shared_bytes << " bytes of shared memory for a block");
        constexpr std::size_t granted_to_all = 48 << 10;
        if (shared_bytes > granted_to_all)
            SLUICE_CUDA_CALL(cudaFuncSetAttribute(execute<Kernel>,
                                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                  static_cast<int>(shared_bytes)));
        const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
        execute<<<blocks, Kernel::num_threads, shared_bytes, native()>>>(kernel);
        SLUICE_CUDA_CALL(cudaGetLastError());
    }

    void copy(void* to, const void* from, std::size_t num_bytes) const
    {
        SLUICE_CUDA_CALL(cudaMemcpyAsync(to, from, num_bytes, cudaMemcpyDeviceToDevice, native()));
    }

    /// Scratch memory for `num_elements` of T, overwritten by the next operation on the stream.
    template <class T>
    T* workspace(std::int64_t num_elements) const
    {
        const DeviceMemory& memory = stream_.workspace();
        SLUICE_CHECK(static_cast<std::size_t>(num_elements) * sizeof(T) <= memory.num_bytes(),
                     num_elements << " elements in a workspace of " << memory.num_bytes()
                                  << " bytes");
        return static_cast<T*>(memory.data());
    }

private:
    cudaStream_t native() const { return static_cast<cudaStream_t>(stream_.native()); }

    const GpuStream& stream_;
};

} // namespace sluice::kernels::nvidia
