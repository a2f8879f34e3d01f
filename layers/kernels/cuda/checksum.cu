#include "layers/kernels/cuda/checksum_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const Checksum& op)
{
    nvidia::launch_checksum(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
