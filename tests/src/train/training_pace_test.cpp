#include "src/train/training_pace.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(training_pace)

BOOST_AUTO_TEST_CASE(nothing_is_known_before_the_first_update)
{
    const TrainingPace pace;
    BOOST_TEST(pace.seconds_per_update() == 0.0);
    BOOST_TEST(pace.seconds_for(100) == 0.0);
}

BOOST_AUTO_TEST_CASE(one_slow_update_among_many_hardly_counts)
{
    TrainingPace pace;
    double now = 7.0;
    for (int update = 0; update < 50; ++update)
        pace.add(0.5, now += 0.5);
    BOOST_TEST(pace.seconds_per_update() == 0.5);
    BOOST_TEST(pace.seconds_for(10) == 5.0);
    pace.add(2.0, now += 2.0);
    BOOST_TEST(pace.seconds_per_update() == 27.0 / 51.0);
}

BOOST_AUTO_TEST_CASE(what_lies_further_back_is_forgotten)
{
    TrainingPace pace;
    double now = 0.0;
    pace.add(1000.0, now += 1000.0);
    BOOST_TEST(pace.seconds_per_update() == 1000.0);
    for (int update = 0; update < 60; ++update)
        pace.add(0.5, now += 0.5);
    BOOST_TEST(pace.seconds_per_update() == 0.5);
    // Where each takes longer than the stretch, the last alone counts.
    pace.add(100.0, now += 100.0);
    pace.add(200.0, now += 200.0);
    BOOST_TEST(pace.seconds_per_update() == 200.0);
}

BOOST_AUTO_TEST_CASE(what_passes_between_updates_is_part_of_what_is_left)
{
    TrainingPace pace;
    pace.add(1.0, 1.0);
    pace.add(1.0, 2.0);
    pace.add(1.0, 3.0);
    pace.add(1.0, 6.0); // behind 2 s of saving
    BOOST_TEST(pace.seconds_per_update() == 1.0);
    BOOST_TEST(pace.seconds_for(8) == 12.0);
}

BOOST_AUTO_TEST_SUITE_END()
