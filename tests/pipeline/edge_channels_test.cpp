#include "pipeline/edge_channels.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(edge_channels)

// A V: chunks 0 1 | 1 0 on two ranks; chunks 1 and 2 share rank 1, so nothing travels between them.
BOOST_AUTO_TEST_CASE(two_for_each_edge_between_ranks)
{
    Schedule schedule;
    schedule.num_chunks = 4;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 1, 1, 0};
    const std::vector<EdgeChannel> wanted{
        {1, false, 0, 1}, {0, true, 1, 0}, {3, false, 1, 0}, {2, true, 0, 1}};
    BOOST_CHECK(sluice::edge_channels(schedule) == wanted);
    BOOST_CHECK_EQUAL(most_ends(wanted), 4);
}

BOOST_AUTO_TEST_CASE(a_rank_in_the_middle_has_most_ends)
{
    Schedule schedule;
    schedule.num_chunks = 3;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 1, 2};
    BOOST_CHECK_EQUAL(most_ends(sluice::edge_channels(schedule)), 4);
    schedule.num_chunks = 2;
    schedule.rank_of_chunk = {0, 1};
    BOOST_CHECK_EQUAL(most_ends(sluice::edge_channels(schedule)), 2);
}

BOOST_AUTO_TEST_CASE(one_rank_has_none)
{
    Schedule schedule;
    schedule.num_chunks = 2;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 0};
    BOOST_CHECK(sluice::edge_channels(schedule).empty());
    BOOST_CHECK_EQUAL(most_ends({}), 0);
}

BOOST_AUTO_TEST_SUITE_END()
