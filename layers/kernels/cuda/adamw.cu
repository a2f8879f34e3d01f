#include "layers/kernels/cuda/adamw_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const AdamW& op)
{
    nvidia::launch_adamw(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
