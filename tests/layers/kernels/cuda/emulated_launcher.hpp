// The launcher that layers/kernels/cuda/*_kernel.cuh are given on the CPU.
#pragma once

#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/device_language.cuh"
#include "tests/layers/kernels/cuda/emulated_gpu.hpp"

#include <algorithm>
#include <memory>
#include <optional>

namespace sluice::testing {

/// One for every kind of run, kept: making hundreds of fibers takes longer than most kernels.
BlockExecutor& executor_of(const EmulatedGpu& gpu);

class EmulatedLauncher {
public:
    explicit EmulatedLauncher(const EmulatedGpu& gpu)
        : executor_(executor_of(gpu)), workspace_bytes_(gpu.workspace_bytes),
          blocks_at_ends_(gpu.blocks_at_ends)
    {
    }

    template <class Kernel>
    void operator()(const Kernel& kernel, kernels::emulated::Grid grid,
                    std::size_t shared_bytes = 0) const
    {
        SLUICE_CHECK(shared_bytes <= kernels::emulated::most_shared_bytes,
                     shared_bytes << " bytes of shared memory for a block");
        SLUICE_CHECK(grid.x < std::int64_t{1} << 31 && grid.y < 65536,
                     "grid " << grid.x << " by " << grid.y);
        executor_.begin_launch();
        for (std::int64_t y = 0; y < grid.y; ++y)
            for (std::int64_t x = 0; x < grid.x; x = next_block(x, grid.x))
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

    /// Exactly what was asked for, full of NaNs (or of zeros: EmulatedGpu::blocks_at_ends).
    template <class T>
    T* workspace(std::int64_t num_elements) const
    {
        const std::size_t num_bytes = static_cast<std::size_t>(num_elements) * sizeof(T);
        SLUICE_CHECK(num_bytes <= workspace_bytes_, num_bytes << " bytes of workspace");
        workspace_ = std::make_unique<double[]>((num_bytes + 7) / 8);
        std::memset(workspace_.get(), blocks_at_ends_ ? 0 : 0xff, num_bytes);
        return static_cast<T*>(static_cast<void*>(workspace_.get()));
    }

private:
    std::int64_t next_block(std::int64_t block, std::int64_t num_blocks) const
    {
        if (blocks_at_ends_ && block + 1 == *blocks_at_ends_)
            return std::max(block + 1, num_blocks - *blocks_at_ends_);
        return block + 1;
    }

    BlockExecutor& executor_;
    std::size_t workspace_bytes_;
    std::optional<std::int64_t> blocks_at_ends_;
    mutable std::unique_ptr<double[]> workspace_;
};

} // namespace sluice::testing
