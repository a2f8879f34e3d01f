#include "src/text/first_lines.hpp"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(first_lines)

BOOST_AUTO_TEST_CASE(says_how_many_it_leaves_out)
{
    BOOST_TEST(sluice::first_lines({}, 2).empty());
    BOOST_TEST(sluice::first_lines({"a", "b"}, 2) == "\n    a\n    b");
    BOOST_TEST(sluice::first_lines({"a", "b", "c", "d"}, 2) == "\n    a\n    b\n    and 2 more");
}

BOOST_AUTO_TEST_SUITE_END()
