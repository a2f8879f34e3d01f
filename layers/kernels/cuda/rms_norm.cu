#include "layers/kernels/cuda/rms_norm_backward_kernel.cuh"
#include "layers/kernels/cuda/rms_norm_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const RmsNormForward& op)
{
    nvidia::launch_rms_norm(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const RmsNormBackward& op)
{
    nvidia::launch_rms_norm(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
