#include "core/shape.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(shape)

BOOST_AUTO_TEST_CASE(extents_and_counts)
{
    const Shape matrix{512, 1368};
    BOOST_TEST(matrix.rank() == 2);
    BOOST_TEST(matrix[1] == 1368);
    BOOST_TEST(matrix.num_elements() == 512 * 1368);
    BOOST_TEST(matrix.text() == "[512, 1368]");
    BOOST_TEST(Shape().num_elements() == 1);
    BOOST_TEST(Shape().text() == "[]");
    BOOST_TEST((Shape{3, 0, 2}).num_elements() == 0);
}

BOOST_AUTO_TEST_CASE(equality_is_by_extents)
{
    BOOST_TEST((Shape{2, 3} == Shape{2, 3}));
    BOOST_TEST((Shape{2, 3} != Shape{3, 2}));
    BOOST_TEST((Shape{6} != Shape{6, 1}));
}

BOOST_AUTO_TEST_CASE(more_than_five_extents_break_a_promise)
{
    BOOST_CHECK_NO_THROW((Shape{1, 2, 3, 4, 5}));
    BOOST_CHECK_THROW((Shape{1, 2, 3, 4, 5, 6}), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
