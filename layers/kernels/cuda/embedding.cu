#include "layers/kernels/cuda/embedding_kernel.cuh"

#include "layers/kernels/cuda/device_launcher.cuh"

namespace sluice::kernels {

void run(Cuda cuda, const EmbeddingForward& op)
{
    nvidia::launch_embedding(nvidia::DeviceLauncher(cuda.stream), op);
}

void run(Cuda cuda, const EmbeddingBackward& op)
{
    nvidia::launch_embedding(nvidia::DeviceLauncher(cuda.stream), op);
}

} // namespace sluice::kernels
