#include "pipeline/schedule/interleaved.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(interleaved)

BOOST_AUTO_TEST_CASE(one_chunk_per_rank_is_1f1b)
{
    for (std::int32_t ranks : {1, 2, 5})
        for (std::int32_t microbatches : {1, 4, 5, 13})
            for (std::int32_t extra : {0, 1, 3})
                BOOST_CHECK(make_interleaved(ranks, microbatches, 1, extra, BackwardParts::whole) ==
                            make_1f1b(ranks, microbatches, extra));
}

BOOST_AUTO_TEST_CASE(two_chunks_in_rounds_of_p)
{
    BOOST_TEST(text_of(make_interleaved(2, 4, 2, 0, BackwardParts::whole)) ==
               "ranks 2 chunks 4 microbatches 4\n"
               "0: 0F0 0F1 2F0 2F1 2B0 0F2 2B1 0F3 0B0 2F2 0B1 2F3 2B2 2B3 0B2 0B3 O\n"
               "1: 1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3 O\n");
}

// One micro-batch more makes the first round larger.
BOOST_AUTO_TEST_CASE(uneven_rounds)
{
    BOOST_TEST(text_of(make_interleaved(2, 3, 2, 0, BackwardParts::whole)) ==
               "ranks 2 chunks 4 microbatches 3\n"
               "0: 0F0 0F1 0F2 2F0 2F1 2B0 2F2 2B1 2B2 0B0 0B1 0B2 O\n"
               "1: 1F0 1F1 1F2 3F0 3B0 3F1 3B1 3F2 3B2 1B0 1B1 1B2 O\n");
}

BOOST_AUTO_TEST_CASE(weight_gradients_wait_on_later_ranks)
{
    BOOST_TEST(text_of(make_interleaved(3, 3, 1, 0, BackwardParts::split)) ==
               "ranks 3 chunks 3 microbatches 3\n"
               "0: 0F0 0F1 0F2 0I0 0W0 0I1 0W1 0I2 0W2 O\n"
               "1: 1F0 1F1 1I0 1F2 1I1 1W0 1I2 1W1 1W2 O\n"
               "2: 2F0 2I0 2F1 2I1 2F2 2I2 2W0 2W1 2W2 O\n");
}

BOOST_AUTO_TEST_CASE(only_one_chunk_can_use_a_deep_warmup)
{
    BOOST_TEST(useful_extra_warmup(1, 5) == 5);
    BOOST_TEST(useful_extra_warmup(2, 0) == 0);
    BOOST_TEST(useful_extra_warmup(2, 5) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
