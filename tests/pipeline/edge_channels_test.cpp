#include "pipeline/edge_channels.hpp"

#include "core/random.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(edge_channels)

// A V: chunks 0 1 | 1 0 on two ranks; chunks 1 and 2 share rank 1, so nothing travels between them.
BOOST_AUTO_TEST_CASE(two_for_each_edge_between_ranks)
{
    Schedule schedule;
    schedule.num_chunks = 4;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 1, 1, 0};
    schedule.actions.resize(2);
    const std::vector<EdgeChannel> wanted{
        {{1}, false, 0, 1}, {{0}, true, 1, 0}, {{3}, false, 1, 0}, {{2}, true, 0, 1}};
    BOOST_CHECK(sluice::edge_channels(schedule) == wanted);
    BOOST_CHECK_EQUAL(most_ends(wanted), 4);
}

BOOST_AUTO_TEST_CASE(a_rank_in_the_middle_has_most_ends)
{
    Schedule schedule;
    schedule.num_chunks = 3;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 1, 2};
    schedule.actions.resize(3);
    BOOST_CHECK_EQUAL(most_ends(sluice::edge_channels(schedule)), 4);
    schedule.num_chunks = 2;
    schedule.rank_of_chunk = {0, 1};
    schedule.actions.resize(2);
    BOOST_CHECK_EQUAL(most_ends(sluice::edge_channels(schedule)), 2);
}

BOOST_AUTO_TEST_CASE(one_rank_has_none)
{
    Schedule schedule;
    schedule.num_chunks = 2;
    schedule.num_microbatches = 1;
    schedule.rank_of_chunk = {0, 0};
    schedule.actions.resize(1);
    BOOST_CHECK(sluice::edge_channels(schedule).empty());
    BOOST_CHECK_EQUAL(most_ends({}), 0);
}

// Whatever the number of chunks and their costs, a rank has four ends: so NCCL carries all of them.
BOOST_AUTO_TEST_CASE(interleaved_chunks_share_their_ways)
{
    const RandomStream random(1, "test.costs");
    std::uint64_t drawn = 0;
    int reordered = 0;
    for (const ScheduleFamily family :
         {ScheduleFamily::interleaved_1f1b, ScheduleFamily::interleaved_zb})
        for (const std::int32_t ranks : {2, 3, 4, 8})
            for (const std::int32_t chunks : {2, 3, 8})
                for (const std::int32_t microbatches : {1, 3, 4, 8, 17})
                    for (const bool heavy_head : {false, true}) {
                        ScheduleRequest request{.family = family,
                                                .num_ranks = ranks,
                                                .num_microbatches = microbatches,
                                                .chunks_per_rank = chunks,
                                                .extra_warmup = 0,
                                                .costs = {}};
                        if (heavy_head) {
                            request.costs.assign(static_cast<std::size_t>(ranks * chunks),
                                                 {1.0, 1.0, 1.0, 0.05});
                            request.costs.back().backward_input += 2.0 * random.uniform(drawn++);
                        }
                        const Schedule schedule = with_communication(make_schedule(request));
                        const auto report = check_schedule(schedule, MatchingRule::in_order);
                        BOOST_TEST(report.good());
                        reordered += std::ranges::max(report.slots.num_inbox_slots) > 2;
                        const auto channels = sluice::edge_channels(schedule);
                        BOOST_TEST(most_ends(channels) == 4);
                        BOOST_TEST(channels.size() == 2 * static_cast<std::size_t>(ranks));
                    }
    BOOST_TEST(reordered > 0); // some receives are posted before their turn
    const Schedule schedule =
        with_communication(make_schedule({.family = ScheduleFamily::interleaved_1f1b,
                                          .num_ranks = 2,
                                          .num_microbatches = 2,
                                          .chunks_per_rank = 2,
                                          .extra_warmup = 0,
                                          .costs = {}}));
    const std::vector<EdgeChannel> wanted{
        {{1, 3}, false, 0, 1}, {{0, 2}, true, 1, 0}, {{2}, false, 1, 0}, {{1}, true, 0, 1}};
    BOOST_CHECK(sluice::edge_channels(schedule) == wanted);
}

// Rank 1 takes micro-batch 1 for chunk 1 in front of micro-batch 0 for chunk 3, which was sent
// first.
BOOST_AUTO_TEST_CASE(chunks_whose_messages_pass_one_another_share_nothing)
{
    const Schedule schedule = parse_schedule("ranks 2 chunks 4 microbatches 2\n"
                                             "0: 0F0 0SA0 2RA0 2F0 2SA0 0F1 0SA1 2RA1 2F1 2SA1"
                                             " 2RG0 2B0 2SG0 0RG0 0B0 2RG1 2B1 2SG1 0RG1 0B1 O\n"
                                             "1: 1RA0 1F0 1SA0 1RA1 3RA0 1F1 1SA1 3F0 3RA1 3F1"
                                             " 3B0 3SG0 1RG0 1B0 1SG0 3B1 3SG1 1RG1 1B1 1SG1 O\n",
                                             "here");
    BOOST_REQUIRE(check_schedule(schedule, MatchingRule::in_order).good());
    const std::vector<EdgeChannel> wanted{{{1}, false, 0, 1},
                                          {{0, 2}, true, 1, 0},
                                          {{2}, false, 1, 0},
                                          {{1}, true, 0, 1},
                                          {{3}, false, 0, 1}};
    BOOST_CHECK(sluice::edge_channels(schedule) == wanted);
}

// Evaluation may run the chunks of other placements in another order than training.
BOOST_AUTO_TEST_CASE(only_looped_chunks_share)
{
    const Schedule schedule =
        parse_schedule("ranks 2 chunks 5 microbatches 1\n"
                       "0: 0F0 0SA0 3RA0 3F0 3SA0 3RG0 3B0 3SG0 0RG0 0B0 O\n"
                       "1: 1RA0 1F0 2F0 2SA0 4RA0 4F0 4B0 4SG0 2RG0 2B0 1B0 1SG0 O\n",
                       "here");
    BOOST_REQUIRE(schedule.rank_of_chunk == (std::vector<std::int32_t>{0, 1, 1, 0, 1}));
    BOOST_REQUIRE(check_schedule(schedule, MatchingRule::in_order).good());
    const auto channels = sluice::edge_channels(schedule);
    BOOST_TEST(channels.size() == 6);
    for (const EdgeChannel& channel : channels)
        BOOST_TEST(channel.to_chunks.size() == 1);
}

// What sharing rests on: evaluation's messages keep the order, too.
BOOST_AUTO_TEST_CASE(looped_forwards_keep_the_order_of_all_chunks)
{
    for (std::int32_t ranks = 1; ranks <= 8; ++ranks)
        for (std::int32_t chunks = ranks; chunks <= 8 * ranks; chunks += ranks)
            for (const std::int32_t microbatches : {1, 2, 3, 5, 8, 16, 33}) {
                std::vector<std::int32_t> rank_of_chunk;
                for (std::int32_t chunk = 0; chunk < chunks; ++chunk)
                    rank_of_chunk.push_back(chunk % ranks);
                const Schedule forwards = make_forward_only(rank_of_chunk, ranks, microbatches);
                std::size_t num_edges = ranks > 1 ? static_cast<std::size_t>(chunks - 1) : 0;
                std::size_t num_forth = 0, num_shared_ways = 0;
                for (const EdgeChannel& channel : sluice::edge_channels(forwards))
                    if (!channel.gradient) {
                        num_forth += channel.to_chunks.size();
                        ++num_shared_ways;
                    }
                BOOST_TEST(num_forth == num_edges);
                BOOST_TEST(num_shared_ways == std::min(num_edges, static_cast<std::size_t>(ranks)));
            }
}

BOOST_AUTO_TEST_SUITE_END()
