#include "src/plan/cost_model.hpp"

#include <bit>
#include <fmt/format.h>

namespace sluice {

CostModel costs_from_flops(const ModelSpec& model, const MicroBatchShape& micro_batch,
                           const AssumedRates& rates)
{
    const TokenFlops flops = token_flops(model, micro_batch.seq_len);
    const double seconds_per_flop =
        static_cast<double>(micro_batch.num_tokens()) / rates.flops_per_second;
    const double matrices = flops.layer_matrices * seconds_per_flop;
    const double attention = flops.layer_attention * seconds_per_flop;
    const double head = flops.head * seconds_per_flop;

    CostModel costs;
    costs.source = fmt::format("FLOPs at {:g} GFLOP/s per rank", rates.flops_per_second * 1e-9);
    costs.decoder_layer = {matrices + attention, matrices + 2.0 * attention, matrices};
    costs.head = {head, head, head};
    costs.recompute = {.lean = 0.03 * costs.decoder_layer.forward,
                       .full = costs.decoder_layer.forward};
    costs.optimizer_per_parameter = 32.0 / rates.memory_bytes_per_second;
    costs.transfer_latency = rates.transfer_latency;
    costs.transfer_bytes_per_second = rates.transfer_bytes_per_second;
    return costs;
}

std::vector<ChunkCosts> chunk_costs(const CostModel& model, std::span<const LayerRange> partition,
                                    double recompute_per_layer, std::size_t message_bytes)
{
    const double transfer = model.transfer_latency +
                            static_cast<double>(message_bytes) / model.transfer_bytes_per_second;
    std::vector<ChunkCosts> costs;
    for (const LayerRange& range : partition) {
        const auto layers = static_cast<double>(range.num_layers());
        ChunkCosts chunk{.forward = layers * model.decoder_layer.forward,
                         .backward_input =
                             layers * (model.decoder_layer.backward_input + recompute_per_layer),
                         .backward_weight = layers * model.decoder_layer.backward_weight,
                         .transfer = transfer};
        if (range.embedding) {
            chunk.forward += model.embedding.forward;
            chunk.backward_input += model.embedding.backward_input;
            chunk.backward_weight += model.embedding.backward_weight;
        }
        if (range.head)
            chunk.backward_input += model.head.total();
        costs.push_back(chunk);
    }
    return costs;
}

double barrier_seconds(const CostModel& model, std::int32_t num_ranks)
{
    const auto depth = std::bit_width(static_cast<std::uint32_t>(num_ranks - 1));
    return 2.0 * static_cast<double>(depth) * model.transfer_latency;
}

double exchange_seconds(const CostModel& model, std::int32_t replicas, std::size_t gradient_bytes)
{
    const double others = static_cast<double>(replicas - 1);
    return 2.0 * others *
           (model.transfer_latency + static_cast<double>(gradient_bytes) /
                                         static_cast<double>(replicas) /
                                         model.transfer_bytes_per_second);
}

} // namespace sluice
