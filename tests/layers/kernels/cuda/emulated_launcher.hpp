// The launcher that layers/kernels/cuda/*_kernel.cuh are given on the CPU.
#pragma once

#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/device_language.cuh"
#include "tests/layers/kernels/cuda/emulated_gpu.hpp"

#include <memory>

namespace sluice::testing {

/// One for every kind of run, kept: making hundreds of fibers takes longer than most kernels.
BlockExecutor& executor_of(const EmulatedGpu& gpu);

class EmulatedLauncher {
public:
    explicit EmulatedLauncher(const EmulatedGpu& gpu)
        : executor_(executor_of(gpu)), workspace_bytes_(gpu.workspace_bytes)
    {
    }

    template <class Kernel>
    void operator()(const Kernel& kernel, kernels::emulated::Grid grid,
                    std::size_t shared_bytes = 0) const
    {
        SLUICE_CHECK(shared_bytes <= kernels::emulated::most_shared_bytes,
                     shared_bytes << " bytes of shared memory for a block");
        executor_.begin_launch();
        for (std::int64_t y = 0; y < grid.y; ++y)
            for (std::int64_t x = 0; x < grid.x; ++x)
                executor_.run({.x = x,
                               .y = y,
                               .num_threads = Kernel::num_threads,
                               .shared_bytes = shared_bytes},
                              [&] { kernel(); });
    }

    void copy(void* to, const void* from, std::size_t num_bytes) const
    {
        std::memcpy(to, from, num_bytes);
    }

    /// Exactly what was asked for, full of NaNs.
    template <class T>
    T* workspace(std::int64_t num_elements) const
    {
        const std::size_t num_bytes = static_cast<std::size_t>(num_elements) * sizeof(T);
        SLUICE_CHECK(num_bytes <= workspace_bytes_, num_bytes << " bytes of workspace");
        workspace_ = std::make_unique<double[]>((num_bytes + 7) / 8);
        std::memset(workspace_.get(), 0xff, num_bytes);
        return static_cast<T*>(static_cast<void*>(workspace_.get()));
    }

private:
    BlockExecutor& executor_;
    std::size_t workspace_bytes_;
    mutable std::unique_ptr<double[]> workspace_;
};

} // namespace sluice::testing
