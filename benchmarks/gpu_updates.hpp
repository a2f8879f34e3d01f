// Whole updates of whole models on one GPU, against the rate of a product.
#pragma once

#include "benchmarks/gpu_kernels.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace sluice {

/// How long and what with.
struct Effort {
    bool tiny = false; ///< to see that everything runs, not how fast
    int wanted_rounds = 7;
    int rounds() const { return tiny ? 1 : wanted_rounds; }
    std::int64_t full_micro_batch() const { return tiny ? 2 : 16; } ///< what targets are for
    std::string attention = "own"; ///< precision.attention of whole updates
};

/// Measured in the same run: the best of some rounds.
struct Ceilings {
    double copy = 0.0;                                             ///< GB/s
    double matmul_f32 = 0.0, matmul_tf32 = 0.0, matmul_bf16 = 0.0; ///< TFLOP/s
    double matmul_bf16_sustained = 0.0; ///< TFLOP/s of a warm GPU, the median

    /// Of products in "fp32", "tf32" or a kind of "bf16".
    double matmul(const std::string& precision) const
    {
        return precision == "fp32" ? matmul_f32 : precision == "tf32" ? matmul_tf32 : matmul_bf16;
    }
};

/// All of their combinations.
struct Models {
    /// Those with most targets first, for a run may be cut off.
    std::vector<std::string> presets{"llama-130m",   "llama-1.3b",    "llama-350m", "llama-71m",
                                     "llama-71m-48", "llama-71m-120", "llama-7b"};
    std::vector<std::string> precisions{
        "bf16"}; ///< precision.compute; "tf32": fp32 with precision.tf32
    std::vector<std::int64_t> micro_batch_sizes{0}; ///< 0: the largest that fits
};

/// Prints a table while it goes, and what CUDA graphs do to each; all rows so far go to `keep`
/// after each, for a run may be cut off. Where bf16 has no room for micro-batches of 16 sequences
/// (full_micro_batch), which targets are for, it is tried with full recomputation and in pure bf16
/// as well. A row that failed ("failed": why) does not end the others.
nlohmann::json measure_models(const Models& models, const Ceilings& ceilings, const Effort& effort,
                              const std::function<void(const nlohmann::json&)>& keep);

} // namespace sluice
