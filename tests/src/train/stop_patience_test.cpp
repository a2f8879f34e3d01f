#include "src/train/stop_patience.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>

using namespace sluice;
using Answer = StopPatience::Answer;

namespace {

StopPatience::Clock::time_point at(double seconds)
{
    return StopPatience::Clock::time_point(
        std::chrono::milliseconds(static_cast<int>(1000.0 * seconds)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(stop_patience)

BOOST_AUTO_TEST_CASE(a_third_interrupt_gives_up)
{
    StopPatience patience;
    BOOST_CHECK(patience.hear(SIGINT, at(50.0)) == Answer::stop);
    BOOST_CHECK(patience.hear(SIGINT, at(50.9)) == Answer::nothing); // one Ctrl-C, passed on twice
    BOOST_CHECK(patience.hear(SIGINT, at(51.2)) == Answer::warn);
    BOOST_CHECK(patience.hear(SIGINT, at(52.1)) == Answer::nothing);
    BOOST_CHECK(patience.hear(SIGINT, at(52.3)) == Answer::give_up);
}

BOOST_AUTO_TEST_CASE(other_signals_never_give_up)
{
    StopPatience patience;
    BOOST_CHECK(patience.hear(SIGTERM, at(50.0)) == Answer::stop);
    for (const double seconds : {60.0, 70.0, 80.0})
        BOOST_CHECK(patience.hear(SIGTERM, at(seconds)) == Answer::nothing);
    BOOST_CHECK(patience.hear(SIGINT, at(90.0)) == Answer::warn);
    BOOST_CHECK(patience.hear(SIGHUP, at(100.0)) == Answer::nothing);
}

BOOST_AUTO_TEST_CASE(signals_are_called_by_their_names)
{
    BOOST_TEST(signal_name(SIGINT) == "SIGINT");
    BOOST_TEST(signal_name(12345) == "signal 12345");
}

BOOST_AUTO_TEST_SUITE_END()
