#include "layers/kernels/cuda/attention_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"
#include "layers/kernels/cudnn_attention.hpp"

namespace sluice::kernels {

void run(Cuda cuda, const AttentionForward& op)
{
    if (cuda.stream.cudnn_attention)
        return run_cudnn(cuda.stream, op);
    nvidia::launch_attention(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
