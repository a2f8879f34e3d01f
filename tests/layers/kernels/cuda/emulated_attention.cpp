#include "tests/layers/kernels/cuda/emulated_launcher.hpp"

#include "layers/kernels/cuda/attention_backward_kernel.cuh"
#include "layers/kernels/cuda/attention_kernel.cuh"

namespace sluice::testing {

void run(const EmulatedGpu& gpu, const kernels::AttentionForward& op)
{
    kernels::emulated::launch_attention(EmulatedLauncher(gpu), op);
}

void run(const EmulatedGpu& gpu, const kernels::AttentionBackward& op)
{
    kernels::emulated::launch_attention(EmulatedLauncher(gpu), op);
}

} // namespace sluice::testing
