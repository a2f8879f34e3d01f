#include "layers/kernels/cuda/rotary_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const RotaryTable& op)
{
    nvidia::launch_rotary(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const RotaryForward& op)
{
    nvidia::launch_rotary(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const RotaryBackward& op)
{
    nvidia::launch_rotary(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
