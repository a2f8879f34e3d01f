#include "src/train/lr_schedule.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(lr_schedule, *boost::unit_test::tolerance(1e-14))

BOOST_AUTO_TEST_CASE(wsd_by_hand)
{
    const LearningRateConfig config{LearningRateKind::wsd, 4, 0.25, 0.0};
    // 20 updates: 4 of warm-up, decay over the last 5.
    const double expected[] = {0.0, 0.25, 0.5, 0.75, 1, 1,   1,   1,   1,   1,  1,
                               1,   1,    1,   1,    1, 0.8, 0.6, 0.4, 0.2, 0.0};
    for (std::int64_t k = 0; k <= 20; ++k)
        BOOST_TEST(learning_rate(config, 2e-3, 20, k) == 2e-3 * expected[k]);
    BOOST_TEST(num_decay_updates(config, 20) == 5);
}

BOOST_AUTO_TEST_CASE(wsd_of_the_paper)
{
    const LearningRateConfig config{LearningRateKind::wsd, 2000, 0.1, 0.0};
    const auto rate = [&](std::int64_t k) { return learning_rate(config, 1.0, 100'000, k); };
    BOOST_TEST(num_decay_updates(config, 100'000) == 10'000);
    BOOST_TEST(rate(0) == 0.0);
    BOOST_TEST(rate(1) == 1.0 / 2000);
    BOOST_TEST(rate(1999) == 1999.0 / 2000);
    BOOST_TEST(rate(2000) == 1.0);
    BOOST_TEST(rate(90'000) == 1.0);
    BOOST_TEST(rate(90'001) == 0.9999);
    BOOST_TEST(rate(95'000) == 0.5);
    BOOST_TEST(rate(99'999) == 0.0001); // the last update
    BOOST_TEST(rate(100'000) == 0.0);
}

BOOST_AUTO_TEST_CASE(floor_of_the_decay)
{
    const LearningRateConfig config{LearningRateKind::wsd, 0, 0.5, 0.1};
    BOOST_TEST(learning_rate(config, 1.0, 8, 0) == 1.0);
    BOOST_TEST(learning_rate(config, 1.0, 8, 4) == 1.0);
    BOOST_TEST(learning_rate(config, 1.0, 8, 6) == 0.55);
    BOOST_TEST(learning_rate(config, 1.0, 8, 8) == 0.1);
}

BOOST_AUTO_TEST_CASE(cosine_by_hand)
{
    const LearningRateConfig config{LearningRateKind::cosine, 2, 0.1, 0.2};
    const auto rate = [&](std::int64_t k) { return learning_rate(config, 10.0, 14, k); };
    BOOST_TEST(rate(0) == 0.0);
    BOOST_TEST(rate(1) == 5.0);
    BOOST_TEST(rate(2) == 10.0);
    BOOST_TEST(rate(6) == 2.0 + 8.0 * 0.75); // a third: (1 + cos 60) / 2 = 3/4
    BOOST_TEST(rate(8) == 6.0);              // half way
    BOOST_TEST(rate(10) == 2.0 + 8.0 * 0.25);
    BOOST_TEST(rate(14) == 2.0);
}

BOOST_AUTO_TEST_CASE(linear_by_hand)
{
    const LearningRateConfig config{LearningRateKind::linear, 2, 0.1, 0.5};
    const double expected[] = {0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5};
    for (std::int64_t k = 0; k <= 6; ++k)
        BOOST_TEST(learning_rate(config, 1.0, 6, k) == expected[k]);
}

BOOST_AUTO_TEST_CASE(constant_by_hand)
{
    const LearningRateConfig config{LearningRateKind::constant, 3, 0.9, 0.5};
    BOOST_TEST(learning_rate(config, 3.0, 9, 0) == 0.0);
    BOOST_TEST(learning_rate(config, 3.0, 9, 2) == 2.0);
    for (std::int64_t k = 3; k <= 9; ++k)
        BOOST_TEST(learning_rate(config, 3.0, 9, k) == 3.0);
}

BOOST_AUTO_TEST_CASE(edges)
{
    for (const auto kind : {LearningRateKind::wsd, LearningRateKind::cosine,
                            LearningRateKind::linear, LearningRateKind::constant}) {
        // No warm-up: the first update has the full rate. All warm-up: never a division by zero.
        BOOST_TEST(learning_rate({kind, 0, 0.0, 0.0}, 1.0, 5, 0) == 1.0);
        BOOST_TEST(learning_rate({kind, 5, 0.0, 0.0}, 1.0, 5, 4) == 0.8);
        BOOST_TEST(std::isfinite(learning_rate({kind, 5, 0.0, 0.0}, 1.0, 5, 5)));
    }
    // Decay from the first update on.
    BOOST_TEST(learning_rate({LearningRateKind::wsd, 0, 1.0, 0.0}, 1.0, 4, 1) == 0.75);
    BOOST_CHECK_THROW(learning_rate({}, 1.0, 4, 5), InvariantError);
    BOOST_CHECK_THROW(learning_rate({}, 1.0, 4, -1), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
