// Stands in for the CUDA kernels in builds without CUDA.
#include "layers/kernels/adamw.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/checksum.hpp"
#include "layers/kernels/cross_entropy.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/embedding.hpp"
#include "layers/kernels/gpu_products.hpp"
#include "layers/kernels/matmul.hpp"
#include "layers/kernels/rms_norm.hpp"
#include "layers/kernels/rotary.hpp"
#include "layers/kernels/sum_of_squares.hpp"
#include "layers/kernels/swiglu.hpp"

namespace sluice::kernels {

namespace {

constexpr const char* not_built = "this build of sluice has no CUDA support";

[[noreturn]] void refuse()
{
    throw usage_error(not_built, "run.device",
                      "write run.device = \"cpu\", or build with the CUDA toolkit installed");
}

} // namespace

void run(Cuda, const AdamW&) { refuse(); }
void run(Cuda, const AttentionForward&) { refuse(); }
void run(Cuda, const AttentionBackward&) { refuse(); }
void run(Cuda, const Checksum&) { refuse(); }
void run(Cuda, const CrossEntropy&) { refuse(); }
void run(Cuda, const Copy&) { refuse(); }
void run(Cuda, const Fill&) { refuse(); }
void run(Cuda, const Scale&) { refuse(); }
void run(Cuda, const Add&) { refuse(); }
void run(Cuda, const EmbeddingForward&) { refuse(); }
void run(Cuda, const EmbeddingBackward&) { refuse(); }
void run(Cuda, const Matmul&) { refuse(); }
void run(Cuda, const RmsNormForward&) { refuse(); }
void run(Cuda, const RmsNormBackward&) { refuse(); }
void run(Cuda, const RotaryTable&) { refuse(); }
void run(Cuda, const RotaryForward&) { refuse(); }
void run(Cuda, const RotaryBackward&) { refuse(); }
void run(Cuda, const SumOfSquares&) { refuse(); }
void run(Cuda, const SwigluForward&) { refuse(); }
void run(Cuda, const SwigluBackward&) { refuse(); }

std::string why_no_gpu_products() { return not_built; }
std::string gpu_products_by() { refuse(); }

} // namespace sluice::kernels
