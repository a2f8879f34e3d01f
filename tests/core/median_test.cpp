#include "core/median.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(median)

BOOST_AUTO_TEST_CASE(of_an_even_count_it_is_the_lower_or_the_upper_one_of_the_middle)
{
    std::vector<double> even{4.0, 1.0, 3.0, 2.0}, odd{9.0, 7.0, 8.0}, one{5.0};
    BOOST_TEST(upper_median(even) == 3.0);
    BOOST_TEST(lower_median(even) == 2.0);
    BOOST_TEST(upper_median(odd) == 8.0);
    BOOST_TEST(lower_median(odd) == 8.0);
    BOOST_TEST(upper_median(one) == 5.0);
    BOOST_TEST(lower_median(one) == 5.0);
}

BOOST_AUTO_TEST_CASE(of_nothing_there_is_none)
{
    std::vector<double> none;
    BOOST_CHECK_THROW(upper_median(none), std::exception);
    BOOST_CHECK_THROW(lower_median(none), std::exception);
}

BOOST_AUTO_TEST_SUITE_END()
