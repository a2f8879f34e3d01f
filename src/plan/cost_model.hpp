// What the parts of a model take on one rank, in seconds: estimated from FLOPs, read from a file,
// or measured (docs/planner.md). The planner prices every layout with it.
#pragma once

#include "layers/micro_batch.hpp"
#include "layers/model_spec.hpp"
#include "layers/parameter.hpp"
#include "pipeline/simulator.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice {

/// Seconds of one micro-batch in one part of the model.
struct PassSeconds {
    double forward = 0.0;
    double backward_input = 0.0;
    double backward_weight = 0.0;
    double total() const { return forward + backward_input + backward_weight; }
};

/// What a layer's backward pass takes in addition when its activations are computed again.
struct RecomputeSeconds {
    double lean = 0.0, full = 0.0;
};

struct CostModel {
    std::string source; ///< in words, for people: "FLOPs at 100 GFLOP/s per rank"
    PassSeconds embedding, decoder_layer, head;
    RecomputeSeconds recompute; ///< per decoder layer
    double optimizer_per_parameter = 0.0;
    double transfer_latency = 0.0; ///< of one message, whatever its size
    double transfer_bytes_per_second = 0.0;
};

/// What one rank does in a second where nothing is measured.
struct AssumedRates {
    double flops_per_second = 100e9;         ///< about one CPU core's single-precision products
    double memory_bytes_per_second = 10e9;   ///< of the optimizer
    double transfer_bytes_per_second = 10e9; ///< of messages
    double transfer_latency = 10e-6;         ///< seconds
};
inline constexpr AssumedRates cpu_rates{};
/// About an H100 in bf16 and a network card for each.
inline constexpr AssumedRates gpu_rates{400e12, 2e12, 25e9, 20e-6};

/// From matrix FLOPs, causal attention counted. Computing again costs a layer's forward pass (full)
/// or 3% of it (lean: norms and SwiGLU product, which are no products of matrices). The optimizer
/// moves 32 bytes per parameter.
CostModel costs_from_flops(const ModelSpec& model, const MicroBatchShape& micro_batch,
                           const AssumedRates& rates = cpu_rates);

/// What each chunk takes. `recompute_per_layer`: RecomputeSeconds::lean, full or 0. The head runs
/// in the backward pass, its weight gradient directly behind its input gradient. `message_bytes`:
/// one activation between chunks.
std::vector<ChunkCosts> chunk_costs(const CostModel& model, std::span<const LayerRange> partition,
                                    double recompute_per_layer, std::size_t message_bytes);

/// The reductions at the optimizer step: two passes over a tree of `num_ranks`, each step a
/// message's latency.
double barrier_seconds(const CostModel& model, std::int32_t num_ranks);

/// What `replicas` exchange at the optimizer step: a rank's gradients scattered to their owners and
/// its weights gathered back, (R-1)/R of its bytes each way and as many messages. Counted whole,
/// though part of it runs beside the last backward work.
double exchange_seconds(const CostModel& model, std::int32_t replicas, std::size_t gradient_bytes);

} // namespace sluice
