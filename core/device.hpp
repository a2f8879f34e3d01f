// Where memory lives and where work runs.
#pragma once

#include <cstdint>

namespace sluice {

enum class DeviceKind : std::uint8_t { cpu, cuda };

struct Device {
    DeviceKind kind = DeviceKind::cpu;
    int index = 0;
    bool operator==(const Device&) const = default;
};

/// Which implementation of the kernel contracts runs: `reference` is float64 and naive (the
/// readable oracle); `cpu` and `cuda` compute on tensors of float32 or bfloat16.
enum class Backend : std::uint8_t { reference, cpu, cuda };

/// An ordered queue of work on one device. On CPUs work is done when the call returns and `native`
/// is null; on GPUs `native` is the GpuStream (core/cuda/gpu_stream.hpp).
struct Stream {
    Backend backend = Backend::cpu;
    Device device{};
    void* native = nullptr;
    /// On GPUs: products of f32 may round their operands to TF32, ten bits of mantissa.
    bool tf32 = false;
    /// On GPUs: attention by cuDNN (layers/kernels/cudnn_attention.hpp), not by our own kernels.
    bool cudnn_attention = false;
};

} // namespace sluice
