// Stands in for cuDNN's attention in builds that did not find its headers.
#include "layers/kernels/cudnn_attention.hpp"

#include "core/error.hpp"

namespace sluice::kernels {

namespace {

constexpr const char* not_built = "this build of sluice has no cuDNN";

[[noreturn]] void refuse()
{
    throw usage_error(not_built, "precision.attention",
                      "write attention = \"own\", or build where the headers of CUDA, cuDNN and "
                      "cudnn-frontend are found (docs/gpu.md)");
}

} // namespace

bool cudnn_is_compiled_in() { return false; }
std::string why_no_cudnn() { return not_built; }
std::string cudnn_version() { refuse(); }
std::int64_t cudnn_position_multiple() { refuse(); }
CudnnAttention prepare_cudnn_attention(const Stream&, DType, const AttentionExtents&) { refuse(); }
void run_cudnn(const Stream&, const AttentionForward&) { refuse(); }
void run_cudnn(const Stream&, const AttentionBackward&) { refuse(); }

} // namespace sluice::kernels
