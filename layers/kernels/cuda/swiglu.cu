#include "layers/kernels/cuda/swiglu_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const SwigluForward& op)
{
    nvidia::launch_swiglu(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const SwigluBackward& op)
{
    nvidia::launch_swiglu(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
