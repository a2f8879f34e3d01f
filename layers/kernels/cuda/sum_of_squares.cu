#include "layers/kernels/cuda/sum_of_squares_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const SumOfSquares& op)
{
    nvidia::launch_sum_of_squares(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
