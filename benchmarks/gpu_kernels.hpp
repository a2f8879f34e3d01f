// The kernels for GPUs, and what each would move or compute at the least.
#pragma once

#include "core/arena.hpp"
#include "core/tensor_view.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sluice {

/// What kernels are measured at; N = sequences x positions tokens.
struct KernelShapes {
    std::int64_t sequences = 0, positions = 0;
    std::int64_t hidden = 0, intermediate = 0, num_heads = 0, vocabulary = 0;

    std::int64_t num_tokens() const { return sequences * positions; }
    std::int64_t head_dim() const { return hidden / num_heads; }
};

enum class WorkUnit : bool { bytes, flops };

/// Tensors on the GPU, full of random numbers, and one operation on them.
class KernelUnderTest {
public:
    explicit KernelUnderTest(const Stream& stream) : stream_(stream) {}

    /// Uniform in [-0.5, 0.5), or ids below `num_ids`. Never zeros: some products are faster on
    /// them.
    TensorView random(const Shape& shape, DType dtype, std::int64_t num_ids = 0);
    const Stream& stream() const { return stream_; }
    void attend_by_cudnn(bool cudnn) { stream_.cudnn_attention = cudnn; }
    void round_to_tf32(bool tf32) { stream_.tf32 = tf32; }

    std::function<void()> launch;
    double amount = 0.0; ///< per launch, of `unit`
    WorkUnit unit = WorkUnit::bytes;

private:
    Stream stream_;
    std::vector<Arena> memory_;
};

struct KernelBenchmark {
    std::string name;
    DType dtype; ///< of activations and weights
    /// Takes the memory and sets launch, amount and unit.
    std::function<void(KernelUnderTest&)> prepare;
    bool tf32 = false; ///< a product of f32 that may round its operands to TF32

    std::string type() const { return tf32 ? "tf32" : std::string(name_of(dtype)); }
};

/// Products of f32 as they are with precision.tf32, at the shapes of a layer and of the head.
std::vector<KernelBenchmark> tf32_benchmarks(const KernelShapes& shapes);
/// Products at the shapes of a layer and of the head, and every other kernel.
std::vector<KernelBenchmark> kernel_benchmarks(const KernelShapes& shapes, DType dtype);
/// Ours, and cuDNN's where it can be used.
std::vector<KernelBenchmark> attention_benchmarks(const KernelShapes& shapes, DType dtype);
/// A copy of so many bytes: read and written.
KernelBenchmark copy_ceiling(std::int64_t num_bytes);
/// A product of two square matrices.
KernelBenchmark matmul_ceiling(std::int64_t extent, DType dtype, bool tf32 = false);

} // namespace sluice
