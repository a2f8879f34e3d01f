#include "pipeline/schedule/schedule_family.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(schedule_family)

BOOST_AUTO_TEST_CASE(chunks_follow_the_shape)
{
    BOOST_TEST(chunks_per_rank_of(ScheduleFamily::one_f_one_b, 3) == 1);
    BOOST_TEST(chunks_per_rank_of(ScheduleFamily::interleaved_zb, 3) == 3);
    BOOST_TEST(chunks_per_rank_of(ScheduleFamily::v_half, 3) == 2);
}

BOOST_AUTO_TEST_CASE(broken_requests_are_broken_promises)
{
    const auto request = [](ScheduleFamily family, std::int32_t ranks, std::int32_t extra,
                            std::size_t costs) {
        return ScheduleRequest{.family = family,
                               .num_ranks = ranks,
                               .num_microbatches = 4,
                               .chunks_per_rank = 1,
                               .extra_warmup = extra,
                               .costs = std::vector<ChunkCosts>(costs)};
    };
    const auto family = ScheduleFamily::gpipe;
    BOOST_CHECK_NO_THROW(make_schedule(request(family, 2, 0, 2)));
    BOOST_CHECK_THROW(make_schedule(request(family, 0, 0, 0)), InvariantError);
    BOOST_CHECK_THROW(make_schedule(request(family, 2, 1, 0)), InvariantError);
    BOOST_CHECK_THROW(make_schedule(request(family, 2, 0, 3)), InvariantError);
    BOOST_CHECK_THROW(claimed_live_activations(request(family, 2, 0, 3)), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
