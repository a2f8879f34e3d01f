#include "src/train/loss_spikes.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <vector>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(loss_spikes)

BOOST_AUTO_TEST_CASE(counts_standard_deviations_above_the_mean)
{
    LossSpikes spikes(4);
    for (const double loss : {9.0, 1.0, 3.0, 1.0, 3.0}) // the 9 has left the window
        spikes.add(loss);
    BOOST_TEST(spikes.deviation_of(2.0) == 0.0);
    BOOST_TEST(spikes.deviation_of(9.0) == 7.0);
    BOOST_TEST(spikes.deviation_of(0.0) == -2.0);
}

BOOST_AUTO_TEST_CASE(judges_nothing_until_its_window_is_full)
{
    LossSpikes spikes(3);
    spikes.add(1.0);
    spikes.add(2.0);
    BOOST_TEST(spikes.deviation_of(1e9) == 0.0);
    spikes.add(3.0);
    BOOST_TEST(spikes.deviation_of(1e9) > 1e6);
    BOOST_TEST(LossSpikes(0).deviation_of(1e9) == 0.0);
}

BOOST_AUTO_TEST_CASE(a_ripple_on_a_flat_curve_does_not_stand_out)
{
    LossSpikes spikes(3);
    for (int i = 0; i < 3; ++i)
        spikes.add(2.0);
    BOOST_TEST(spikes.deviation_of(2.002) == 1.0, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(goes_on_to_the_bit_from_what_was_saved)
{
    LossSpikes whole(10), before(10), resumed(10);
    const auto loss = [](int i) { return 2.0 + std::sin(i) / 7.0; };
    for (int i = 0; i < 40; ++i) {
        whole.add(loss(i));
        if (i < 25)
            before.add(loss(i));
    }
    resumed.restore(before.recent());
    for (int i = 25; i < 40; ++i)
        resumed.add(loss(i));
    BOOST_TEST(resumed.deviation_of(4.0) == whole.deviation_of(4.0));
    BOOST_TEST(resumed.recent() == whole.recent(), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_shorter_window_takes_the_newest_of_what_was_saved)
{
    LossSpikes spikes(2);
    spikes.restore(std::vector<double>{1.0, 2.0, 3.0});
    BOOST_TEST(spikes.recent() == (std::vector<double>{2.0, 3.0}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
