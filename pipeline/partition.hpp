// Which layers each chunk owns: contiguous ranges, by cost or by hand.
#pragma once

#include "layers/parameter.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

/// Relative costs of one micro-batch, forward plus backward, in any one unit.
struct LayerCosts {
    double embedding = 0.0;
    double decoder_layer = 1.0;
    double head = 0.0;
};

/// From matrix FLOPs (causal attention counted). The head of a 71M model costs about 4.5 layers.
LayerCosts layer_costs(const ModelSpec& spec, std::int64_t seq_len);

/// Whether the last chunk may hold the head and no decoder layer. At 71M the head outweighs four
/// layers, so standing alone makes the best split of 12 layers on 4 chunks 92% instead of 75%.
enum class HeadChunk : bool { with_layers, may_stand_alone };

/// The contiguous split into as many ranges as `rank_of_chunk` has entries (each at least one
/// layer, but for HeadChunk). It minimises the cost of the most expensive rank (all its chunks
/// together, which is what bounds the pipeline's rate), makes the others as even as whole layers
/// allow, and then each rank's chunks; ties put fewer layers on earlier chunks, which keep more
/// micro-batches alive. Throws UserError (usage) when there are more chunks than layers for them.
std::vector<LayerRange> partition_by_cost(std::int64_t num_layers,
                                          const std::vector<std::int32_t>& rank_of_chunk,
                                          const LayerCosts& costs,
                                          HeadChunk head = HeadChunk::with_layers);

/// So many layers on each chunk, the embedding on the first and the head on the last.
std::vector<LayerRange> layer_ranges(const std::vector<std::int64_t>& layers_per_chunk);

double cost_of(const LayerRange& range, const LayerCosts& costs);
/// Mean over maximum of the ranks' costs: the share of time a perfectly filled pipeline computes.
double partition_efficiency(const std::vector<LayerRange>& ranges,
                            const std::vector<std::int32_t>& rank_of_chunk,
                            const LayerCosts& costs);

} // namespace sluice
