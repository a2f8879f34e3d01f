#include "layers/kernels/cudnn_attention.hpp"

namespace sluice::kernels {

std::string why_not_cudnn(DType dtype, const AttentionExtents& e)
{
    if (dtype != DType::bf16)
        return "cuDNN's attention computes in bf16, not in " + std::string(name_of(dtype));
    // Other multiples of 8 cuDNN takes too, on some GPUs; these are what is tested.
    if (e.head_dim != 64 && e.head_dim != 128)
        return "cuDNN's attention takes heads of 64 or 128 channels, not of " +
               std::to_string(e.head_dim);
    if (e.positions < 2)
        return "cuDNN's attention takes sequences of at least 2 tokens";
    return {};
}

} // namespace sluice::kernels
