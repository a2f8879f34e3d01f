#include "tests/layers/kernels/cuda/emulated_launcher.hpp"

#include "layers/kernels/cuda/adamw_kernel.cuh"
#include "layers/kernels/cuda/checksum_kernel.cuh"
#include "layers/kernels/cuda/cross_entropy_kernel.cuh"
#include "layers/kernels/cuda/elementwise_kernel.cuh"
#include "layers/kernels/cuda/embedding_kernel.cuh"
#include "layers/kernels/cuda/rms_norm_backward_kernel.cuh"
#include "layers/kernels/cuda/rms_norm_kernel.cuh"
#include "layers/kernels/cuda/rotary_kernel.cuh"
#include "layers/kernels/cuda/sum_of_squares_kernel.cuh"
#include "layers/kernels/cuda/swiglu_kernel.cuh"

namespace sluice::testing {

using namespace kernels;
using namespace kernels::emulated;
using Gpu = EmulatedGpu;

void run(const Gpu& gpu, const AdamW& op) { launch_adamw(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const Checksum& op) { launch_checksum(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const Copy& op) { launch_elementwise(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const Fill& op) { launch_elementwise(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const Scale& op) { launch_elementwise(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const Add& op) { launch_elementwise(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const SwigluForward& op) { launch_swiglu(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const SwigluBackward& op) { launch_swiglu(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const RotaryTable& op) { launch_rotary(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const RotaryForward& op) { launch_rotary(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const RotaryBackward& op) { launch_rotary(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const SumOfSquares& op)
{
    launch_sum_of_squares(EmulatedLauncher(gpu), op);
}
void run(const Gpu& gpu, const CrossEntropy& op)
{
    launch_cross_entropy(EmulatedLauncher(gpu), op);
}
void run(const Gpu& gpu, const EmbeddingForward& op)
{
    launch_embedding(EmulatedLauncher(gpu), op);
}
void run(const Gpu& gpu, const EmbeddingBackward& op)
{
    launch_embedding(EmulatedLauncher(gpu), op);
}
void run(const Gpu& gpu, const RmsNormForward& op) { launch_rms_norm(EmulatedLauncher(gpu), op); }
void run(const Gpu& gpu, const RmsNormBackward& op) { launch_rms_norm(EmulatedLauncher(gpu), op); }

} // namespace sluice::testing
