#include "layers/kernels/cuda/attention_backward_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const AttentionBackward& op)
{
    nvidia::launch_attention(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
