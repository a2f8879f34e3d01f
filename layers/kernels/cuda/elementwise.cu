#include "layers/kernels/cuda/elementwise_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const Copy& op)
{
    nvidia::launch_elementwise(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const Fill& op)
{
    nvidia::launch_elementwise(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const Scale& op)
{
    nvidia::launch_elementwise(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const Add& op)
{
    nvidia::launch_elementwise(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
