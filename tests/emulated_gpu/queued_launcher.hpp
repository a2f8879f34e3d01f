// The launcher that layers/kernels/cuda/*_kernel.cuh are given by emulated GPUs: the twin of
// DeviceLauncher (layers/kernels/cuda/device_launcher.cuh). Kernels are queued on the stream, with
// their arguments by value.
#pragma once

#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/device_language.cuh"

#include "core/cuda/gpu_stream.hpp"
#include "tests/emulated_gpu/operands.hpp"
#include "tests/emulated_gpu/stream_order.hpp"

#include <boost/core/demangle.hpp>
#include <functional>
#include <string>
#include <typeinfo>

namespace sluice::testing {

/// Throws EmulationError, naming the operand, where an operation could not run on the stream's GPU:
/// when memory is not that GPU's, whatever its view says, or the view says otherwise; or when
/// another GPU is the thread's current one.
void check_operands(const Stream& stream, const char* operation, const Operands& operands);

MemoryAccesses accesses_of(const Operands& operands);

/// What kernels run on. Only while work of a stream runs.
BlockExecutor& executor_of_process();

class QueuedLauncher {
public:
    template <class Op>
    QueuedLauncher(const Stream& stream, const char* operation, const Op& op)
        : stream_(GpuStream::of(stream)), operation_(operation)
    {
        const Operands operands = operands_of(op);
        check_operands(stream, operation, operands);
        accesses_ = accesses_of(operands);
    }

    template <class Kernel>
    void operator()(const Kernel& kernel, kernels::emulated::Grid grid,
                    std::size_t shared_bytes = 0) const
    {
        check_launch(grid, shared_bytes);
        use(boost::core::demangle(typeid(Kernel).name()));
        queue([kernel, grid, shared_bytes] {
            for (std::int64_t y = 0; y < grid.y; ++y)
                for (std::int64_t x = 0; x < grid.x; ++x)
                    executor_of_process().run({.x = x,
                                               .y = y,
                                               .num_threads = Kernel::num_threads,
                                               .shared_bytes = shared_bytes},
                                              [&] { kernel(); });
        });
    }

    void copy(void* to, const void* from, std::size_t num_bytes) const;

    /// The stream's, as far as it was asked for full of NaNs.
    template <class T>
    T* workspace(std::int64_t num_elements) const
    {
        return static_cast<T*>(poisoned(static_cast<std::size_t>(num_elements) * sizeof(T)));
    }

    void queue(std::function<void()> body) const;
    /// Code of this operation runs: CUDA loads it when it comes first.
    void use(const std::string& code) const;

private:
    void check_launch(kernels::emulated::Grid grid, std::size_t shared_bytes) const;
    void* poisoned(std::size_t num_bytes) const;

    const GpuStream& stream_;
    const char* operation_;
    MemoryAccesses accesses_; ///< each of its kernels may do all of them
};

} // namespace sluice::testing
