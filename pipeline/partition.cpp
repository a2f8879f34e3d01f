#include "pipeline/partition.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace sluice {

std::vector<LayerRange> layer_ranges(const std::vector<std::int64_t>& layers_per_chunk)
{
    SLUICE_CHECK(!layers_per_chunk.empty(), "no chunks");
    std::vector<LayerRange> ranges;
    std::int64_t begin = 0;
    for (const std::int64_t count : layers_per_chunk) {
        ranges.push_back({begin, begin + count, false, false});
        begin += count;
    }
    ranges.front().embedding = true;
    ranges.back().head = true;
    return ranges;
}

LayerCosts layer_costs(const ModelSpec& spec, std::int64_t seq_len)
{
    const TokenFlops flops = token_flops(spec, seq_len);
    return {.embedding = 0.0, .decoder_layer = flops.layer_total(), .head = flops.head_total()};
}

std::vector<LayerRange> partition_by_cost(std::int64_t num_layers,
                                          const std::vector<std::int32_t>& rank_of_chunk,
                                          const LayerCosts& costs, HeadChunk head)
{
    SLUICE_CHECK(!rank_of_chunk.empty(), "no chunks");
    const std::size_t num_chunks = rank_of_chunk.size();
    const bool head_alone = head == HeadChunk::may_stand_alone && num_chunks > 1;
    const std::size_t with_layers = head_alone ? num_chunks - 1 : num_chunks;
    if (num_layers < static_cast<std::int64_t>(with_layers))
        throw usage_error(std::to_string(num_layers) + " layers cannot be cut into " +
                              std::to_string(num_chunks) + " chunks",
                          {}, "use at most as many stages times chunks_per_rank as layers");

    std::vector<std::int64_t> layers(num_chunks, 0);
    std::vector<double> chunk_cost(num_chunks, 0.0);
    std::vector<double> rank_cost(
        static_cast<std::size_t>(*std::max_element(rank_of_chunk.begin(), rank_of_chunk.end())) + 1,
        0.0);
    const auto add = [&](std::size_t chunk, double cost) {
        chunk_cost[chunk] += cost;
        rank_cost[static_cast<std::size_t>(rank_of_chunk[chunk])] += cost;
    };
    const auto add_layer = [&](std::size_t chunk) {
        ++layers[chunk];
        add(chunk, costs.decoder_layer);
    };
    add(0, costs.embedding);
    add(num_chunks - 1, costs.head);
    for (std::size_t chunk = 0; chunk < with_layers; ++chunk)
        add_layer(chunk);
    // All layers cost the same, so each next one belongs where least lies already. Costs that
    // differ only by rounding are equal, and then the later chunk gets it.
    const double tolerance = 1e-9 * costs.decoder_layer;
    const auto less = [&](std::size_t a, std::size_t b) {
        const double by_rank = rank_cost[static_cast<std::size_t>(rank_of_chunk[a])] -
                               rank_cost[static_cast<std::size_t>(rank_of_chunk[b])];
        if (std::abs(by_rank) > tolerance)
            return by_rank < 0.0;
        const double by_chunk = chunk_cost[a] - chunk_cost[b];
        return std::abs(by_chunk) > tolerance ? by_chunk < 0.0 : a > b;
    };
    for (auto left = num_layers - static_cast<std::int64_t>(with_layers); left > 0; --left) {
        std::size_t lightest = 0;
        for (std::size_t chunk = 1; chunk < num_chunks; ++chunk)
            if (less(chunk, lightest))
                lightest = chunk;
        add_layer(lightest);
    }
    return layer_ranges(layers);
}

double cost_of(const LayerRange& range, const LayerCosts& costs)
{
    return static_cast<double>(range.num_layers()) * costs.decoder_layer +
           (range.embedding ? costs.embedding : 0.0) + (range.head ? costs.head : 0.0);
}

double partition_efficiency(const std::vector<LayerRange>& ranges,
                            const std::vector<std::int32_t>& rank_of_chunk, const LayerCosts& costs)
{
    SLUICE_CHECK(!ranges.empty() && ranges.size() == rank_of_chunk.size(),
                 ranges.size() << " ranges, " << rank_of_chunk.size() << " chunks");
    std::map<std::int32_t, double> cost_of_rank;
    double sum = 0.0, max = 0.0;
    for (std::size_t chunk = 0; chunk < ranges.size(); ++chunk) {
        const double cost = cost_of(ranges[chunk], costs);
        sum += cost;
        max = std::max(max, cost_of_rank[rank_of_chunk[chunk]] += cost);
    }
    return max > 0.0 ? sum / (max * static_cast<double>(cost_of_rank.size())) : 1.0;
}

} // namespace sluice
