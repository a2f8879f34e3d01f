#include "layers/kernels/cuda/cross_entropy_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const CrossEntropy& op)
{
    nvidia::launch_cross_entropy(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
