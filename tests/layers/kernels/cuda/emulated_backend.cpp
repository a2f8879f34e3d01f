// Backend::cuda as the layers launch it, on emulated kernels: these definitions take the place of
// the library's at link time. Products, a library's on GPUs, are a plain loop in float32.
#include "layers/kernels/extents.hpp"
#include "tests/layers/kernels/cuda/emulated_gpu.hpp"
#include "tests/oracle/oracle_model.hpp"

#include <set>

sluice::Backend sluice::testing::single_precision_backend() { return Backend::cuda; }

std::vector<std::string> sluice::testing::single_precision_fixtures()
{
    std::vector<std::string> chosen; // named ARRANGEMENT_SCHEDULE.h5
    std::set<std::string> arrangements;
    for (const std::string& name : training_fixtures())
        if (arrangements.insert(name.substr(0, name.find('_'))).second)
            chosen.push_back(name);
    return chosen;
}

namespace sluice::kernels {

namespace {

const testing::EmulatedGpu gpu;

} // namespace

void run(Cuda, const AdamW& op) { run(gpu, op); }
void run(Cuda, const AttentionForward& op) { run(gpu, op); }
void run(Cuda, const AttentionBackward& op) { run(gpu, op); }
void run(Cuda, const Checksum& op) { run(gpu, op); }
void run(Cuda, const CrossEntropy& op) { run(gpu, op); }
void run(Cuda, const Copy& op) { run(gpu, op); }
void run(Cuda, const Fill& op) { run(gpu, op); }
void run(Cuda, const Scale& op) { run(gpu, op); }
void run(Cuda, const Add& op) { run(gpu, op); }
void run(Cuda, const EmbeddingForward& op) { run(gpu, op); }
void run(Cuda, const EmbeddingBackward& op) { run(gpu, op); }
void run(Cuda, const RmsNormForward& op) { run(gpu, op); }
void run(Cuda, const RmsNormBackward& op) { run(gpu, op); }
void run(Cuda, const RotaryTable& op) { run(gpu, op); }
void run(Cuda, const RotaryForward& op) { run(gpu, op); }
void run(Cuda, const RotaryBackward& op) { run(gpu, op); }
void run(Cuda, const SumOfSquares& op) { run(gpu, op); }
void run(Cuda, const SwigluForward& op) { run(gpu, op); }
void run(Cuda, const SwigluBackward& op) { run(gpu, op); }

void run(Cuda, const Matmul& op)
{
    const auto [m, n, k] = extents_of(op);
    const float *a = op.a.as<float>(), *b = op.b.as<float>();
    const float* addend = op.addend.empty() ? nullptr : op.addend.as<float>();
    float* out = op.out.as<float>();
    const bool at = op.transpose_a == Transpose::yes, bt = op.transpose_b == Transpose::yes;
    for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
            float sum = 0.0F;
            for (std::int64_t p = 0; p < k; ++p)
                sum += (at ? a[p * m + i] : a[i * k + p]) * (bt ? b[j * k + p] : b[p * n + j]);
            const float rest = addend ? static_cast<float>(op.beta) * addend[i * n + j] : 0.0F;
            out[i * n + j] = static_cast<float>(op.alpha.on_host()) * sum + rest;
        }
}

} // namespace sluice::kernels
