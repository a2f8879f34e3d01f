// Backend::cuda on emulated GPUs: these definitions take the place of the library's at link time.
#include "tests/emulated_gpu/queued_launcher.hpp"

#include "layers/kernels/cuda/adamw_kernel.cuh"
#include "layers/kernels/cuda/attention_backward_kernel.cuh"
#include "layers/kernels/cuda/attention_kernel.cuh"
#include "layers/kernels/cuda/checksum_kernel.cuh"
#include "layers/kernels/cuda/cross_entropy_kernel.cuh"
#include "layers/kernels/cuda/elementwise_kernel.cuh"
#include "layers/kernels/cuda/embedding_kernel.cuh"
#include "layers/kernels/cuda/rms_norm_backward_kernel.cuh"
#include "layers/kernels/cuda/rms_norm_kernel.cuh"
#include "layers/kernels/cuda/rotary_kernel.cuh"
#include "layers/kernels/cuda/sum_of_squares_kernel.cuh"
#include "layers/kernels/cuda/swiglu_kernel.cuh"
#include "layers/kernels/cudnn_attention.hpp"
#include "tests/emulated_gpu/product.hpp"

namespace sluice::kernels {

using namespace emulated;
using Launcher = testing::QueuedLauncher;

void run(Cuda cuda, const AdamW& op) { launch_adamw(Launcher(cuda.stream, "AdamW", op), op); }
void run(Cuda cuda, const AttentionForward& op)
{
    if (cuda.stream.cudnn_attention)
        return run_cudnn(cuda.stream, op);
    launch_attention(Launcher(cuda.stream, "AttentionForward", op), op);
}
void run(Cuda cuda, const AttentionBackward& op)
{
    if (cuda.stream.cudnn_attention)
        return run_cudnn(cuda.stream, op);
    launch_attention(Launcher(cuda.stream, "AttentionBackward", op), op);
}
void run(Cuda cuda, const Checksum& op)
{
    launch_checksum(Launcher(cuda.stream, "Checksum", op), op);
}
void run(Cuda cuda, const CrossEntropy& op)
{
    launch_cross_entropy(Launcher(cuda.stream, "CrossEntropy", op), op);
}
void run(Cuda cuda, const Copy& op) { launch_elementwise(Launcher(cuda.stream, "Copy", op), op); }
void run(Cuda cuda, const Fill& op) { launch_elementwise(Launcher(cuda.stream, "Fill", op), op); }
void run(Cuda cuda, const Scale& op) { launch_elementwise(Launcher(cuda.stream, "Scale", op), op); }
void run(Cuda cuda, const Add& op) { launch_elementwise(Launcher(cuda.stream, "Add", op), op); }
void run(Cuda cuda, const EmbeddingForward& op)
{
    launch_embedding(Launcher(cuda.stream, "EmbeddingForward", op), op);
}
void run(Cuda cuda, const EmbeddingBackward& op)
{
    launch_embedding(Launcher(cuda.stream, "EmbeddingBackward", op), op);
}
void run(Cuda cuda, const RmsNormForward& op)
{
    launch_rms_norm(Launcher(cuda.stream, "RmsNormForward", op), op);
}
void run(Cuda cuda, const RmsNormBackward& op)
{
    launch_rms_norm(Launcher(cuda.stream, "RmsNormBackward", op), op);
}
void run(Cuda cuda, const RotaryTable& op)
{
    launch_rotary(Launcher(cuda.stream, "RotaryTable", op), op);
}
void run(Cuda cuda, const RotaryForward& op)
{
    launch_rotary(Launcher(cuda.stream, "RotaryForward", op), op);
}
void run(Cuda cuda, const RotaryBackward& op)
{
    launch_rotary(Launcher(cuda.stream, "RotaryBackward", op), op);
}
void run(Cuda cuda, const SumOfSquares& op)
{
    launch_sum_of_squares(Launcher(cuda.stream, "SumOfSquares", op), op);
}
void run(Cuda cuda, const SwigluForward& op)
{
    launch_swiglu(Launcher(cuda.stream, "SwigluForward", op), op);
}
void run(Cuda cuda, const SwigluBackward& op)
{
    launch_swiglu(Launcher(cuda.stream, "SwigluBackward", op), op);
}

/// A library's on GPUs (layers/kernels/cuda/matmul.cpp), with the same demands.
void run(Cuda cuda, const Matmul& op)
{
    const Launcher launcher(cuda.stream, "Matmul", op);
    extents_of(op);
    SLUICE_CHECK(op.a.dtype == op.b.dtype && (op.addend.empty() || op.addend.dtype == op.out.dtype),
                 "a " << name_of(op.a.dtype) << ", b " << name_of(op.b.dtype) << ", out "
                      << name_of(op.out.dtype));
    const bool tf32 = cuda.stream.tf32 && op.a.dtype == DType::f32;
    launcher.use(testing::kind_of(op, tf32));
    launcher.queue([op, tf32] { testing::multiply(op, tf32); });
}

} // namespace sluice::kernels
