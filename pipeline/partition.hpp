// Which layers each chunk owns: contiguous ranges, by cost or by hand.
#pragma once

#include "layers/parameter.hpp"

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

/// The contiguous split into `num_chunks` ranges (each at least one layer) that minimises the cost
/// of the most expensive chunk; among those, the one whose other chunks are most even. Throws
/// UserError (usage) when there are more chunks than layers.
std::vector<LayerRange> partition_by_cost(std::int64_t num_layers, std::int32_t num_chunks,
                                          const LayerCosts& costs);

/// From the run file: layers per chunk as in "7,5". Throws UserError (usage) unless there are
/// `num_chunks` numbers, each at least 1, that add up to `num_layers`.
std::vector<LayerRange> partition_by_hand(std::int64_t num_layers, std::int32_t num_chunks,
                                          std::string_view layers_per_chunk);

double cost_of(const LayerRange& range, const LayerCosts& costs);
/// Mean over maximum of the chunks' costs: the share of time a perfectly filled pipeline computes.
double partition_efficiency(const std::vector<LayerRange>& ranges, const LayerCosts& costs);

} // namespace sluice
