// Which layers each chunk owns: contiguous ranges, by cost or by hand.
#pragma once

#include "layers/parameter.hpp"

#include <cstdint>
#include <string_view>
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

/// The contiguous split into `num_chunks` ranges (each at least one layer, but for HeadChunk) that
/// minimises the cost of the most expensive chunk; among those, the one with the smallest sum of
/// squared costs, that is, whose other chunks are most even; among those, the one with fewer layers
/// on earlier chunks, which keep more micro-batches alive. Throws UserError (usage) when there are
/// more chunks than layers for them.
std::vector<LayerRange> partition_by_cost(std::int64_t num_layers, std::int32_t num_chunks,
                                          const LayerCosts& costs,
                                          HeadChunk head = HeadChunk::with_layers);

/// From the run file: layers per chunk as in "7,5". Throws UserError (usage) unless there are
/// `num_chunks` numbers, each at least 1, that add up to `num_layers`.
std::vector<LayerRange> partition_by_hand(std::int64_t num_layers, std::int32_t num_chunks,
                                          std::string_view layers_per_chunk);

double cost_of(const LayerRange& range, const LayerCosts& costs);
/// Mean over maximum of the chunks' costs: the share of time a perfectly filled pipeline computes.
double partition_efficiency(const std::vector<LayerRange>& ranges, const LayerCosts& costs);

} // namespace sluice
