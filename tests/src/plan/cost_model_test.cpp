#include "src/plan/cost_model.hpp"

#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(cost_model, *boost::unit_test::tolerance(1e-12))

BOOST_AUTO_TEST_CASE(a_layer_by_hand)
{
    // Per token 4 16^2 + 3 16 24 = 2176 matrix elements, 2 FLOPs each; attention 2 16 8 = 256
    // forward and twice that backward. 2 x 8 tokens at 1 FLOP/s.
    const CostModel costs =
        costs_from_flops(test::small_run().model, {2, 8}, {.flops_per_second = 1.0});
    BOOST_TEST(costs.decoder_layer.forward == 16.0 * (4352 + 256));
    BOOST_TEST(costs.decoder_layer.backward_input == 16.0 * (4352 + 512));
    BOOST_TEST(costs.decoder_layer.backward_weight == 16.0 * 4352);
    BOOST_TEST(costs.head.total() == 3 * 16.0 * 2 * 96 * 16);
    BOOST_TEST(costs.recompute.full == costs.decoder_layer.forward);
    BOOST_TEST(costs.source == "FLOPs at 1e-09 GFLOP/s per rank");
}

BOOST_AUTO_TEST_CASE(all_parts_are_the_models_flops)
{
    const ModelSpec model = test::small_run().model;
    const CostModel costs = costs_from_flops(model, {2, 8}, {.flops_per_second = 1e9});
    const double all = costs.embedding.total() + costs.head.total() +
                       static_cast<double>(model.num_layers) * costs.decoder_layer.total();
    BOOST_TEST(all == 16.0 * flops_per_token(model, 8) / 1e9);
}

BOOST_AUTO_TEST_CASE(chunks_add_up_their_layers)
{
    CostModel costs;
    costs.embedding = {1.0, 2.0, 4.0};
    costs.decoder_layer = {10.0, 20.0, 30.0};
    costs.head = {100.0, 200.0, 300.0};
    costs.transfer_latency = 0.5;
    costs.transfer_bytes_per_second = 1000.0;
    const std::vector<LayerRange> partition{{0, 2, true, false}, {2, 3, false, true}};
    const auto chunks = chunk_costs(costs, partition, 7.0, 2000);
    BOOST_REQUIRE(chunks.size() == 2u);
    BOOST_TEST(chunks[0].forward == 21.0);
    BOOST_TEST(chunks[0].backward_input == 2.0 * (20.0 + 7.0) + 2.0);
    BOOST_TEST(chunks[0].backward_weight == 64.0);
    BOOST_TEST(chunks[0].transfer == 2.5);
    BOOST_TEST(chunks[1].forward == 10.0); // the head runs backward
    BOOST_TEST(chunks[1].backward_input == 27.0 + 600.0);
    BOOST_TEST(chunks[1].backward_weight == 30.0);
}

BOOST_AUTO_TEST_CASE(the_barrier_is_a_tree_there_and_back)
{
    CostModel costs;
    costs.transfer_latency = 1.0;
    for (const auto& [ranks, seconds] : {std::pair(1, 0.0), {2, 2.0}, {3, 4.0}, {4, 4.0}, {5, 6.0}})
        BOOST_TEST(barrier_seconds(costs, ranks) == seconds);
}

// Two replicas of a rank with 2000 bytes: 1000 go out, 1000 come back, one message each.
BOOST_AUTO_TEST_CASE(replicas_exchange_all_but_their_own)
{
    CostModel costs;
    costs.transfer_latency = 0.5;
    costs.transfer_bytes_per_second = 1000.0;
    BOOST_TEST(exchange_seconds(costs, 1, 2000) == 0.0);
    BOOST_TEST(exchange_seconds(costs, 2, 2000) == 2.0 * (0.5 + 1.0));
    BOOST_TEST(exchange_seconds(costs, 4, 2000) == 6.0 * (0.5 + 0.5));
}

BOOST_AUTO_TEST_SUITE_END()
