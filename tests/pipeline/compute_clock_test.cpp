#include "pipeline/compute_clock.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>

using namespace sluice;

namespace {

void pass_milliseconds(int count) { std::this_thread::sleep_for(std::chrono::milliseconds(count)); }

} // namespace

BOOST_AUTO_TEST_SUITE(compute_clock)

BOOST_AUTO_TEST_CASE(counts_stretches_and_not_what_lies_between)
{
    ComputeClock clock(Stream{}, 2);
    clock.start();
    pass_milliseconds(2);
    clock.stop();
    const double first = clock.seconds();
    BOOST_CHECK_GE(first, 0.002);
    pass_milliseconds(20);
    clock.stop(); // no stretch has begun
    BOOST_CHECK_EQUAL(clock.seconds(), first);
    clock.start();
    pass_milliseconds(1);
    clock.stop();
    BOOST_CHECK_GE(clock.seconds(), first + 0.001);
    clock.reset();
    BOOST_CHECK_EQUAL(clock.seconds(), 0.0);
}

BOOST_AUTO_TEST_CASE(slowed_down_a_stretch_takes_a_multiple)
{
    ComputeClock clock(Stream{}, 1);
    clock.slow_down(3.0);
    clock.start();
    pass_milliseconds(2);
    clock.stop();
    BOOST_CHECK_GE(clock.seconds(), 0.006);
}

BOOST_AUTO_TEST_SUITE_END()
