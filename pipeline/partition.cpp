#include "pipeline/partition.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <charconv>
#include <string>

namespace sluice {

namespace {

/// A split is settled by its first and last chunk: those in between are alike and best when even.
struct Split {
    std::int64_t first = 0, last = 0; ///< layers
    double max = 0.0;                 ///< cost of the most expensive chunk
    long double squares = 0.0L;       ///< sum of squared costs
};

Split price(std::int64_t num_layers, std::int32_t num_chunks, const LayerCosts& costs,
            std::int64_t first, std::int64_t last)
{
    const auto layers = [&](std::int64_t n) {
        return static_cast<double>(n) * costs.decoder_layer;
    };
    const auto square = [](double cost) { return static_cast<long double>(cost) * cost; };
    const double first_cost = layers(first) + costs.embedding;
    const double last_cost = layers(last) + costs.head;
    Split split{first, last, std::max(first_cost, last_cost),
                square(first_cost) + square(last_cost)};
    if (num_chunks > 2) {
        const std::int64_t between = num_chunks - 2;
        const std::int64_t rest = num_layers - first - last;
        const std::int64_t longer = rest % between;
        const double small = layers(rest / between), large = layers(rest / between + 1);
        split.max = std::max(split.max, longer > 0 ? large : small);
        split.squares += square(small) * static_cast<long double>(between - longer) +
                         square(large) * static_cast<long double>(longer);
    }
    return split;
}

/// Strictly better. Sums of squares that differ only by rounding are equal.
bool better(const Split& a, const Split& b)
{
    if (a.max != b.max)
        return a.max < b.max;
    const long double tolerance = 1e-14L * std::max(a.squares, b.squares);
    return a.squares < b.squares - tolerance;
}

std::vector<LayerRange> ranges_of(const std::vector<std::int64_t>& layers)
{
    std::vector<LayerRange> ranges;
    std::int64_t begin = 0;
    for (const std::int64_t count : layers) {
        ranges.push_back({begin, begin + count, false, false});
        begin += count;
    }
    ranges.front().embedding = true;
    ranges.back().head = true;
    return ranges;
}

} // namespace

LayerCosts layer_costs(const ModelSpec& spec, std::int64_t seq_len)
{
    const auto C = static_cast<double>(spec.hidden_size);
    const auto I = static_cast<double>(spec.intermediate_size);
    const auto V = static_cast<double>(spec.vocab_size);
    const auto s = static_cast<double>(seq_len);
    // Per token, forward and backward: 6 FLOPs per matrix parameter, and causal attention's
    // products of scores and of values, 6 C s together. Looking up the embedding is no product.
    return {.embedding = 0.0,
            .decoder_layer = 6.0 * (4.0 * C * C + 3.0 * C * I) + 6.0 * C * s,
            .head = 6.0 * V * C};
}

std::vector<LayerRange> partition_by_cost(std::int64_t num_layers, std::int32_t num_chunks,
                                          const LayerCosts& costs, HeadChunk head)
{
    SLUICE_CHECK(num_chunks >= 1, "num_chunks " << num_chunks);
    const bool head_alone = head == HeadChunk::may_stand_alone && num_chunks > 1;
    const std::int64_t with_layers = head_alone ? num_chunks - 1 : num_chunks;
    if (num_layers < with_layers)
        throw usage_error(std::to_string(num_layers) + " layers cannot be cut into " +
                              std::to_string(num_chunks) + " chunks",
                          {}, "use at most as many stages times chunks_per_rank as layers");
    if (num_chunks == 1)
        return ranges_of({num_layers});

    const std::int64_t between = num_chunks - 2;
    Split best;
    bool found = false;
    for (std::int64_t first = 1; first + between <= num_layers; ++first) {
        const std::int64_t most = num_layers - first - between;
        // With two chunks the last takes what the first leaves.
        const std::int64_t least = between == 0 ? most : (head_alone ? 0 : 1);
        for (std::int64_t last = most; last >= least; --last) {
            if (last == 0 && !head_alone)
                continue;
            const Split split = price(num_layers, num_chunks, costs, first, last);
            if (!found || better(split, best))
                best = split;
            found = true;
        }
    }
    std::vector<std::int64_t> layers{best.first};
    const std::int64_t rest = num_layers - best.first - best.last;
    for (std::int64_t i = 0; i < between; ++i) // the longer ones behind
        layers.push_back(rest / between + (i >= between - rest % between ? 1 : 0));
    layers.push_back(best.last);
    return ranges_of(layers);
}

std::vector<LayerRange> partition_by_hand(std::int64_t num_layers, std::int32_t num_chunks,
                                          std::string_view layers_per_chunk)
{
    const std::string where = "pipeline.partition = \"" + std::string(layers_per_chunk) + "\"";
    const std::string remedy = "write " + std::to_string(num_chunks) +
                               " numbers of layers that add up to " + std::to_string(num_layers) +
                               ", separated by commas, or \"auto\"";
    std::vector<std::int64_t> layers;
    std::int64_t sum = 0;
    for (std::size_t begin = 0; begin <= layers_per_chunk.size();) {
        const std::size_t end =
            std::min(layers_per_chunk.find(',', begin), layers_per_chunk.size());
        std::string_view number = layers_per_chunk.substr(begin, end - begin);
        while (!number.empty() && number.front() == ' ')
            number.remove_prefix(1);
        while (!number.empty() && number.back() == ' ')
            number.remove_suffix(1);
        std::int64_t count = 0;
        const auto [stop, error] =
            std::from_chars(number.data(), number.data() + number.size(), count);
        if (error != std::errc() || stop != number.data() + number.size() || count < 1 ||
            count > num_layers)
            throw usage_error("'" + std::string(number) + "' is not a number of layers from 1 to " +
                                  std::to_string(num_layers),
                              where, remedy);
        layers.push_back(count);
        sum += count;
        begin = end + 1;
    }
    if (static_cast<std::int64_t>(layers.size()) != num_chunks)
        throw usage_error(std::to_string(layers.size()) + " numbers for " +
                              std::to_string(num_chunks) + " chunks",
                          where, remedy);
    if (sum != num_layers)
        throw usage_error("the chunks have " + std::to_string(sum) +
                              " layers together, the model has " + std::to_string(num_layers),
                          where, remedy);
    return ranges_of(layers);
}

double cost_of(const LayerRange& range, const LayerCosts& costs)
{
    return static_cast<double>(range.num_layers()) * costs.decoder_layer +
           (range.embedding ? costs.embedding : 0.0) + (range.head ? costs.head : 0.0);
}

double partition_efficiency(const std::vector<LayerRange>& ranges, const LayerCosts& costs)
{
    SLUICE_CHECK(!ranges.empty(), "no chunks");
    double sum = 0.0, max = 0.0;
    for (const LayerRange& range : ranges) {
        sum += cost_of(range, costs);
        max = std::max(max, cost_of(range, costs));
    }
    return max > 0.0 ? sum / (max * static_cast<double>(ranges.size())) : 1.0;
}

} // namespace sluice
