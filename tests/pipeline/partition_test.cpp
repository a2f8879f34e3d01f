#include "pipeline/partition.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

using namespace sluice;

namespace {

ModelSpec model(std::int64_t layers, std::int64_t hidden, std::int64_t intermediate)
{
    ModelSpec spec;
    spec.vocab_size = 32000;
    spec.num_layers = layers;
    spec.hidden_size = hidden;
    spec.intermediate_size = intermediate;
    return spec;
}

const ModelSpec llama_71m = model(12, 512, 1368), llama_130m = model(12, 768, 2048),
                llama_350m = model(24, 1024, 2736), llama_1_3b = model(24, 2048, 5632),
                llama_7b = model(32, 4096, 11008);

std::vector<std::int64_t> layers_of(const std::vector<LayerRange>& ranges)
{
    std::vector<std::int64_t> layers;
    for (const LayerRange& range : ranges)
        layers.push_back(range.num_layers());
    return layers;
}

void check_covers(const std::vector<LayerRange>& ranges, std::int64_t num_layers)
{
    std::int64_t next = 0;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        BOOST_TEST(ranges[i].begin == next);
        BOOST_TEST(ranges[i].embedding == (i == 0));
        BOOST_TEST(ranges[i].head == (i + 1 == ranges.size()));
        next = ranges[i].end;
    }
    BOOST_TEST(next == num_layers);
}

/// Calls visit with every split of `layers` into `chunks` parts of at least one (the last:
/// `least`).
void every_split(std::int64_t layers, int chunks, std::int64_t least,
                 const std::function<void(const std::vector<std::int64_t>&)>& visit)
{
    std::vector<std::int64_t> split;
    const std::function<void(std::int64_t)> extend = [&](std::int64_t left) {
        if (static_cast<int>(split.size()) + 1 == chunks) {
            if (left < least)
                return;
            split.push_back(left);
            visit(split);
            split.pop_back();
            return;
        }
        for (std::int64_t n = 1; n <= left; ++n) {
            split.push_back(n);
            extend(left - n);
            split.pop_back();
        }
    };
    extend(layers);
}

/// One chunk per rank.
std::vector<std::int32_t> ranks(int count)
{
    std::vector<std::int32_t> ranks(static_cast<std::size_t>(count));
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
}

int percent(double share) { return static_cast<int>(100.0 * share + 0.5); }

int equal_split_percent(const ModelSpec& spec, int chunks)
{
    // Where the layers do not divide, the chunk with the head gets one of the smaller parts.
    std::vector<std::int64_t> layers;
    for (int i = 0; i < chunks; ++i)
        layers.push_back(spec.num_layers / chunks + (i < spec.num_layers % chunks ? 1 : 0));
    return percent(
        partition_efficiency(layer_ranges(layers), ranks(chunks), layer_costs(spec, 1024)));
}

int best_split_percent(const ModelSpec& spec, int chunks, HeadChunk head)
{
    const LayerCosts costs = layer_costs(spec, 1024);
    return percent(partition_efficiency(
        partition_by_cost(spec.num_layers, ranks(chunks), costs, head), ranks(chunks), costs));
}

} // namespace

BOOST_AUTO_TEST_SUITE(partition)

BOOST_AUTO_TEST_CASE(the_head_weighs_as_much_as_these_many_layers)
{
    const auto head = [](const ModelSpec& spec) {
        const LayerCosts costs = layer_costs(spec, 1024);
        return costs.head / costs.decoder_layer;
    };
    BOOST_TEST(head(llama_71m) == 4.46, boost::test_tools::tolerance(0.001));
    BOOST_TEST(head(llama_130m) == 3.125, boost::test_tools::tolerance(0.001));
    BOOST_TEST(head(llama_350m) == 2.40, boost::test_tools::tolerance(0.001));
    BOOST_TEST(head(llama_1_3b) == 1.225, boost::test_tools::tolerance(0.001));
    BOOST_TEST(head(llama_7b) == 0.635, boost::test_tools::tolerance(0.001));
    // 6 (4 C^2 + 3 C I) + 6 C s with C = 2, I = 3, s = 5, and 6 V C with V = 7.
    ModelSpec tiny = model(1, 2, 3);
    tiny.vocab_size = 7;
    BOOST_TEST(layer_costs(tiny, 5).decoder_layer == 264.0);
    BOOST_TEST(layer_costs(tiny, 5).head == 84.0);
}

BOOST_AUTO_TEST_CASE(efficiency_of_equal_and_best_splits)
{
    using enum HeadChunk;
    BOOST_TEST(equal_split_percent(llama_71m, 4) == 55);
    BOOST_TEST(equal_split_percent(llama_71m, 8) == 38);
    BOOST_TEST(equal_split_percent(llama_130m, 4) == 62);
    BOOST_TEST(equal_split_percent(llama_130m, 8) == 46);
    BOOST_TEST(equal_split_percent(llama_350m, 4) == 79);
    BOOST_TEST(equal_split_percent(llama_350m, 8) == 61);
    BOOST_TEST(equal_split_percent(llama_1_3b, 4) == 87);
    BOOST_TEST(equal_split_percent(llama_1_3b, 8) == 75);

    BOOST_TEST(best_split_percent(llama_71m, 4, may_stand_alone) == 92);
    BOOST_TEST(best_split_percent(llama_71m, 8, may_stand_alone) == 46);
    BOOST_TEST(best_split_percent(llama_130m, 4, may_stand_alone) == 95);
    BOOST_TEST(best_split_percent(llama_130m, 8, may_stand_alone) == 61); // 60.5
    BOOST_TEST(best_split_percent(llama_350m, 4, may_stand_alone) == 94);
    BOOST_TEST(best_split_percent(llama_350m, 8, may_stand_alone) == 83);
    BOOST_TEST(best_split_percent(llama_1_3b, 4, may_stand_alone) == 90);
    BOOST_TEST(best_split_percent(llama_1_3b, 8, may_stand_alone) == 79);

    // What a layer beside the head costs where the head is heavy.
    BOOST_TEST(best_split_percent(llama_71m, 4, with_layers) == 75);
    BOOST_TEST(best_split_percent(llama_71m, 8, with_layers) == 38);
    BOOST_TEST(best_split_percent(llama_130m, 4, with_layers) == 92);
    BOOST_TEST(best_split_percent(llama_350m, 4, with_layers) == 94);
    BOOST_TEST(best_split_percent(llama_1_3b, 4, with_layers) == 90);
}

BOOST_AUTO_TEST_CASE(no_split_is_better)
{
    for (const double head : {0.0, 0.5, 1.0, 2.4, 4.459})
        for (const double embedding : {0.0, 0.3, 3.0})
            for (std::int64_t layers = 1; layers <= 9; ++layers)
                for (int chunks = 1; chunks <= layers; ++chunks)
                    for (const bool alone : {false, true}) {
                        const LayerCosts costs{embedding, 1.0, head};
                        const auto price = [&](const std::vector<LayerRange>& ranges) {
                            std::pair<double, double> price{0.0, 0.0};
                            for (const LayerRange& range : ranges) {
                                const double cost = cost_of(range, costs);
                                price.first = std::max(price.first, cost);
                                price.second += cost * cost;
                            }
                            return price;
                        };
                        const auto ranges = partition_by_cost(layers, ranks(chunks), costs,
                                                              alone ? HeadChunk::may_stand_alone
                                                                    : HeadChunk::with_layers);
                        check_covers(ranges, layers);
                        const auto mine = price(ranges);
                        every_split(layers, chunks, alone && chunks > 1 ? 0 : 1,
                                    [&](const auto& split) {
                                        std::vector<LayerRange> other;
                                        std::int64_t begin = 0;
                                        for (const std::int64_t n : split) {
                                            other.push_back({begin, begin + n, false, false});
                                            begin += n;
                                        }
                                        other.front().embedding = true;
                                        other.back().head = true;
                                        const auto theirs = price(other);
                                        BOOST_REQUIRE(mine.first <= theirs.first);
                                        if (mine.first == theirs.first)
                                            BOOST_REQUIRE(mine.second <= theirs.second + 1e-9);
                                    });
                    }
}

BOOST_AUTO_TEST_CASE(ties_put_fewer_layers_first)
{
    const LayerCosts plain{0.0, 1.0, 0.0};
    BOOST_TEST(layers_of(partition_by_cost(5, ranks(2), plain)) ==
                   (std::vector<std::int64_t>{2, 3}),
               boost::test_tools::per_element());
    BOOST_TEST(layers_of(partition_by_cost(10, ranks(4), plain)) ==
                   (std::vector<std::int64_t>{2, 2, 3, 3}),
               boost::test_tools::per_element());
    BOOST_TEST(layers_of(partition_by_cost(12, ranks(4), plain)) ==
                   (std::vector<std::int64_t>{3, 3, 3, 3}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_thousand_chunks)
{
    const LayerCosts costs = layer_costs(model(1000, 512, 1368), 1024);
    check_covers(partition_by_cost(1000, ranks(1000), costs), 1000);
    check_covers(partition_by_cost(1000, ranks(500), costs), 1000);
    const auto ranges = partition_by_cost(1000, ranks(3), costs, HeadChunk::may_stand_alone);
    check_covers(ranges, 1000);
    BOOST_TEST(layers_of(ranges) == (std::vector<std::int64_t>{335, 335, 330}),
               boost::test_tools::per_element());
}

// Several chunks per rank: no contiguous split gives the busiest rank less, in looped and V shapes.
BOOST_AUTO_TEST_CASE(no_split_gives_the_busiest_rank_less)
{
    for (const std::vector<std::int32_t>& rank_of_chunk :
         {std::vector<std::int32_t>{0, 1, 0, 1}, {0, 1, 1, 0}, {0, 0}, {0, 1, 2, 2, 1, 0}})
        for (const double head : {0.0, 0.5, 2.4, 4.459})
            for (const std::int64_t layers : {6, 8, 9})
                for (const bool alone : {false, true}) {
                    const LayerCosts costs{0.2, 1.0, head};
                    const auto chunks = static_cast<int>(rank_of_chunk.size());
                    const auto ranges = partition_by_cost(layers, rank_of_chunk, costs,
                                                          alone ? HeadChunk::may_stand_alone
                                                                : HeadChunk::with_layers);
                    check_covers(ranges, layers);
                    const double mine = partition_efficiency(ranges, rank_of_chunk, costs);
                    every_split(layers, chunks, alone ? 0 : 1, [&](const auto& split) {
                        std::vector<LayerRange> other;
                        std::int64_t begin = 0;
                        for (const std::int64_t n : split) {
                            other.push_back({begin, begin + n, false, false});
                            begin += n;
                        }
                        other.front().embedding = true;
                        other.back().head = true;
                        BOOST_REQUIRE(mine >=
                                      partition_efficiency(other, rank_of_chunk, costs) - 1e-12);
                    });
                }
    // The head of a V shape lies on the first rank, which gives layers away for it.
    BOOST_TEST(layers_of(partition_by_cost(12, {0, 1, 1, 0}, {0.0, 1.0, 4.0})) ==
                   (std::vector<std::int64_t>{3, 4, 4, 1}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(too_many_chunks_is_the_users_mistake)
{
    const LayerCosts costs{0.0, 1.0, 2.0};
    BOOST_CHECK_THROW(partition_by_cost(3, ranks(4), costs), UserError);
    BOOST_TEST(
        partition_by_cost(3, ranks(4), costs, HeadChunk::may_stand_alone).back().num_layers() == 0);
    BOOST_CHECK_THROW(partition_by_cost(3, ranks(5), costs, HeadChunk::may_stand_alone), UserError);
}

BOOST_AUTO_TEST_CASE(layers_on_each_chunk)
{
    const auto ranges = layer_ranges({7, 5, 0});
    check_covers(ranges, 12);
    BOOST_TEST(ranges[0].num_layers() == 7);
    BOOST_TEST(ranges[2].num_layers() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
