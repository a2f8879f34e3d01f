#include "src/watch/hang_bounds.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(hang_bounds)

BOOST_AUTO_TEST_CASE(follows_the_slowest_update_from_thirty_seconds_up)
{
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 0.2).training == 30.0);
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 40.0).training == 200.0);
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 40.0).silence == 200.0);
}

BOOST_AUTO_TEST_CASE(takes_the_run_files_word)
{
    const HangBounds bounds = sluice::hang_bounds(5.0, 10, 40.0);
    BOOST_TEST(bounds.silence == 5.0);
    BOOST_TEST(bounds.of({.phase = RankPhase::training}) == 5.0);
    BOOST_TEST(bounds.of({.phase = RankPhase::evaluating}) == 20.0);
}

BOOST_AUTO_TEST_CASE(leaves_files_and_the_first_updates_time)
{
    for (const RankPhase phase : {RankPhase::starting, RankPhase::saving, RankPhase::ending})
        BOOST_TEST(sluice::hang_bounds(5.0, 10, 0.1).of({.phase = phase}) == 900.0);
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 60.0).files == 6000.0);
    BOOST_TEST(sluice::hang_bounds(5.0, 1, 0.1).training == 900.0);
    BOOST_TEST(sluice::hang_bounds(5.0, 1, 0.1).silence == 5.0);
    // However large the checkpoints are.
    BOOST_TEST(sluice::hang_bounds(5.0, 1, 0.1, 60e9).training == 900.0);
    BOOST_TEST(sluice::hang_bounds(5.0, 0, 0.1, 60e9).of({.phase = RankPhase::connecting}) ==
               300.0);
    BOOST_TEST(sluice::hang_bounds(60.0, 0, 0.1).of({.phase = RankPhase::connecting}) == 600.0);
}

BOOST_AUTO_TEST_CASE(leaves_files_their_time_in_updates_too)
{
    const HangBounds bounds = sluice::hang_bounds(5.0, 10, 0.1);
    for (const RankPhase phase : {RankPhase::training, RankPhase::evaluating})
        BOOST_TEST(bounds.of({.phase = phase, .at_files = true}) == 900.0);
}

BOOST_AUTO_TEST_CASE(leaves_large_checkpoints_more_time)
{
    // 60 GB at 10 MB/s.
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 1.0, 60e9).files == 6000.0);
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 1.0, 60e9).training == 30.0);
    BOOST_TEST(sluice::hang_bounds(0.0, 10, 1.0, 1e9).files == 900.0);
}

BOOST_AUTO_TEST_CASE(one_slow_update_is_no_usual_one_but_two_are)
{
    SlowestUpdate slowest;
    BOOST_TEST(slowest.seconds() == 0.0);
    slowest.add(2.0);
    BOOST_TEST(slowest.seconds() == 2.0);
    slowest.add(100.0);
    slowest.add(3.0);
    BOOST_TEST(slowest.seconds() == 3.0);
    slowest.add(50.0);
    BOOST_TEST(slowest.seconds() == 50.0);
    for (int i = 0; i < 64; ++i)
        slowest.add(1.0);
    BOOST_TEST(slowest.seconds() == 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
