#include "src/train/measure_costs.hpp"

#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(measure_costs)

// How long is nobody's promise; that every part was run is.
BOOST_AUTO_TEST_CASE(every_part_takes_time)
{
    for (const char* arrangement : {"model.arrangement=pre", "model.arrangement=sandwich"}) {
        const CostModel costs = sluice::measure_costs(test::small_run({arrangement}));
        BOOST_TEST(costs.embedding.forward > 0.0);
        BOOST_TEST(costs.decoder_layer.forward > 0.0);
        BOOST_TEST(costs.decoder_layer.backward_input > 0.0);
        BOOST_TEST(costs.decoder_layer.backward_weight > 0.0);
        BOOST_TEST(costs.head.total() > 0.0);
        BOOST_TEST(costs.recompute.full >= 0.0);
        BOOST_TEST(costs.optimizer_per_parameter > 0.0);
        BOOST_TEST(costs.transfer_bytes_per_second > 0.0);
        BOOST_TEST(costs.source.starts_with("measured here with "));
    }
}

BOOST_AUTO_TEST_SUITE_END()
