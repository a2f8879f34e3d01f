#include "pipeline/schedule/placement.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {
using Ranks = std::vector<std::int32_t>;
}

BOOST_AUTO_TEST_SUITE(placement)

BOOST_AUTO_TEST_CASE(each_shape)
{
    BOOST_CHECK((rank_of_chunks(Placement::linear, 3, 1) == Ranks{0, 1, 2}));
    BOOST_CHECK((rank_of_chunks(Placement::looped, 3, 1) == Ranks{0, 1, 2}));
    BOOST_CHECK((rank_of_chunks(Placement::looped, 2, 3) == Ranks{0, 1, 0, 1, 0, 1}));
    BOOST_CHECK((rank_of_chunks(Placement::v_shape, 3, 2) == Ranks{0, 1, 2, 2, 1, 0}));
    BOOST_CHECK((rank_of_chunks(Placement::v_shape, 1, 2) == Ranks{0, 0}));
}

BOOST_AUTO_TEST_CASE(impossible_numbers_are_broken_promises)
{
    BOOST_CHECK_THROW(rank_of_chunks(Placement::linear, 3, 2), InvariantError);
    BOOST_CHECK_THROW(rank_of_chunks(Placement::v_shape, 3, 1), InvariantError);
    BOOST_CHECK_THROW(rank_of_chunks(Placement::looped, 0, 1), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
