#include "pipeline/schedule/backward_fusion.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(backward_fusion)

BOOST_AUTO_TEST_CASE(only_where_nobody_waits_for_the_gradient)
{
    Schedule schedule = parse_schedule("ranks 2 chunks 4 microbatches 2\n"
                                       "0: 0F0 0F1 3F0 3F1 3I0 3W0 3I1 3W1 0I0 0W0 0I1 0W1 O\n"
                                       "1: 1F0 1F1 2F0 2F1 2I0 2W0 2I1 1I0 2W1 1W0 1I1 1W1 O\n",
                                       "v");
    fuse_backwards(schedule);
    // Chunk 3's gradients travel to rank 1, chunk 1's to rank 0; chunk 2's stay on their rank, but
    // the second one is wanted at once.
    BOOST_TEST(text_of(schedule) == "ranks 2 chunks 4 microbatches 2\n"
                                    "0: 0F0 0F1 3F0 3F1 3I0 3W0 3I1 3W1 0B0 0B1 O\n"
                                    "1: 1F0 1F1 2F0 2F1 2B0 2I1 1I0 2W1 1W0 1I1 1W1 O\n");
}

BOOST_AUTO_TEST_CASE(whole_backwards_stay)
{
    Schedule schedule = make_1f1b(3, 5);
    fuse_backwards(schedule);
    BOOST_CHECK(schedule == make_1f1b(3, 5));
}

BOOST_AUTO_TEST_SUITE_END()
