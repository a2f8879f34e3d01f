#include "src/text/trimmed.hpp"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(trimmed)

BOOST_AUTO_TEST_CASE(blanks_go_from_both_ends)
{
    BOOST_TEST(sluice::trimmed("") == "");
    BOOST_TEST(sluice::trimmed(" \t\r\n") == "");
    BOOST_TEST(sluice::trimmed("a") == "a");
    BOOST_TEST(sluice::trimmed("\t a b \n") == "a b");
    BOOST_TEST(sluice::trimmed(" \ta ", " ") == "\ta");
}

BOOST_AUTO_TEST_SUITE_END()
