#include "src/watch/stall.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

const HangBounds bounds = hang_bounds(10.0, 5, 1.0);

RankView computing(double seconds)
{
    RankView view;
    view.known = true;
    view.unchanged_seconds = seconds;
    view.state.update = 7;
    view.state.phase = RankPhase::training;
    view.state.activity = Activity::compute;
    view.state.in_action = true;
    view.state.action = {ActionKind::forward, 1, 3};
    return view;
}

RankView waiting(int for_rank, double seconds, WaitKind kind = WaitKind::receiving)
{
    RankView view = computing(seconds);
    view.state.wait = kind;
    view.state.partner = for_rank;
    return view;
}

/// Of a host that goes on, or cannot, as its GPU takes no more work.
RankView presumed_waiting(int for_rank, double seconds)
{
    RankView view = waiting(for_rank, seconds);
    view.state.presumed = true;
    return view;
}

RankView in_collective(std::uint32_t number, double seconds, std::int32_t count = 3)
{
    RankView view = waiting(0, seconds, WaitKind::collective);
    view.state.collective = {.first = 0, .stride = 1, .count = count, .number = number};
    view.state.in_action = false;
    view.state.activity = Activity::reduction;
    return view;
}

std::vector<std::string> names(std::size_t count)
{
    std::vector<std::string> texts;
    for (std::size_t rank = 0; rank < count; ++rank)
        texts.push_back("rank " + std::to_string(rank));
    return texts;
}

} // namespace

BOOST_AUTO_TEST_SUITE(stall)

BOOST_AUTO_TEST_CASE(nothing_is_wrong_while_the_one_all_wait_for_is_within_its_bound)
{
    const std::vector<RankView> ranks{waiting(1, 60.0), waiting(2, 60.0), computing(9.0)};
    BOOST_TEST(!find_stall(ranks, bounds, 0));
}

BOOST_AUTO_TEST_CASE(the_one_that_all_transitively_wait_for_is_to_blame)
{
    const std::vector<RankView> ranks{waiting(1, 11.0), waiting(2, 11.0), computing(11.0)};
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::stuck));
    BOOST_TEST(stall->culprits == std::vector<int>{2}, boost::test_tools::per_element());
    const auto lines = describe(*stall, ranks, names(3));
    BOOST_REQUIRE(lines.size() == 3u);
    BOOST_TEST(lines[0] == "rank 2 hangs: on one spot for 11 s while waiting for nobody (update 7, "
                           "stage 1, micro-batch 3, action 1F3)");
    BOOST_TEST(lines[1] ==
               "rank 1 waits for rank 2 for 11 s: update 7, stage 1, micro-batch 3, action 1F3");
    BOOST_TEST(lines[2].starts_with("rank 0 waits for rank 1 for 11 s"));
}

BOOST_AUTO_TEST_CASE(each_phase_has_its_own_bound)
{
    std::vector<RankView> ranks{waiting(1, 500.0), computing(500.0)};
    ranks[1].state.phase = RankPhase::saving;
    BOOST_TEST(!find_stall(ranks, bounds, 0));
    ranks[1].unchanged_seconds = 901.0;
    BOOST_TEST(find_stall(ranks, bounds, 0).has_value());
    ranks[1].state.phase = RankPhase::evaluating;
    ranks[1].unchanged_seconds = 39.0;
    BOOST_TEST(!find_stall(ranks, bounds, 0));
}

BOOST_AUTO_TEST_CASE(a_silent_rank_is_to_blame_in_any_phase)
{
    std::vector<RankView> ranks{waiting(1, 9.0), computing(0.2), waiting(1, 9.0)};
    ranks[1].silent_seconds = 10.0;
    ranks[1].state.phase = RankPhase::saving;
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::silent));
    BOOST_TEST(stall->culprits == std::vector<int>{1}, boost::test_tools::per_element());
    BOOST_TEST(describe(*stall, ranks, names(3))[0].starts_with(
        "rank 1 hangs: its heartbeat stopped 10 s ago (checkpoint of update 7"));
}

BOOST_AUTO_TEST_CASE(lost_heartbeats_end_no_run_that_goes_on)
{
    std::vector<RankView> ranks{waiting(1, 0.5), computing(0.2)};
    ranks[1].silent_seconds = 1000.0;
    BOOST_TEST(!find_stall(ranks, bounds, 0));
}

BOOST_AUTO_TEST_CASE(a_rank_never_heard_of_is_not_judged)
{
    std::vector<RankView> ranks{waiting(1, 1000.0), {}};
    ranks[1].silent_seconds = 1000.0;
    BOOST_TEST(!find_stall(ranks, bounds, 0));
}

BOOST_AUTO_TEST_CASE(in_a_collective_ranks_wait_for_those_that_are_not_in_it)
{
    std::vector<RankView> ranks{in_collective(4, 11.0), in_collective(4, 11.0), computing(11.0)};
    BOOST_TEST(waits_for(ranks, 0) == 2);
    BOOST_TEST(waits_for(ranks, 1) == 2);
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST(stall->culprits == std::vector<int>{2}, boost::test_tools::per_element());
    BOOST_TEST(describe(*stall, ranks, names(3))[1] ==
               "rank 0 waits for rank 2 for 11 s: update 7, reduction");
    ranks[2] = in_collective(3, 11.0);
    BOOST_TEST(waits_for(ranks, 0) == 2);
}

BOOST_AUTO_TEST_CASE(nobody_waits_for_a_rank_that_has_left_the_collective)
{
    // Rank 0 was stopped in it, rank 2 is an update further: what it gives it has given.
    std::vector<RankView> ranks(3, in_collective(4, 11.0));
    ranks[0].silent_seconds = 11.0;
    ranks[2].state.wait = WaitKind::receiving;
    ranks[2].state.partner = 1;
    BOOST_TEST(waits_for(ranks, 1) == -1);
    const auto stall = find_stall(ranks, bounds, 1);
    BOOST_REQUIRE(stall);
    BOOST_TEST(stall->culprits == std::vector<int>{0}, boost::test_tools::per_element());
    const std::vector<std::string> lines = describe(*stall, ranks, names(3));
    BOOST_TEST(lines[1] == "rank 1 waits with all others for 11 s: update 7, reduction");
    ranks[2] = in_collective(5, 11.0); // in the one after it
    BOOST_TEST(waits_for(ranks, 1) == -1);
    BOOST_TEST(waits_for(ranks, 2) == 0);
    ranks[2].state.collective.communicator = 1; // nothing is known of this one
    BOOST_TEST(waits_for(ranks, 1) == 2);
}

BOOST_AUTO_TEST_CASE(a_group_is_the_ranks_it_says)
{
    std::vector<RankView> ranks(5, computing(11.0));
    ranks[1] = in_collective(4, 11.0, 2);
    ranks[1].state.collective.first = 1;
    ranks[1].state.collective.stride = 3;
    BOOST_TEST(waits_for(ranks, 1) == 4);
    ranks[4] = ranks[1];
    BOOST_TEST(waits_for(ranks, 1) == -1);
    ranks[1].state.collective.count = 9; // read while it changed
    BOOST_TEST(waits_for(ranks, 1) == 4);
}

BOOST_AUTO_TEST_CASE(ranks_that_wait_for_each_other_are_named_in_a_circle)
{
    const std::vector<RankView> ranks{waiting(2, 11.0), waiting(0, 11.0),
                                      waiting(3, 11.0, WaitKind::sending), waiting(2, 11.0)};
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::circle));
    BOOST_TEST(stall->culprits == (std::vector<int>{2, 3}), boost::test_tools::per_element());
    const auto lines = describe(*stall, ranks, names(4));
    BOOST_TEST(lines[0].starts_with("rank 2, rank 3 wait for each other"));
    BOOST_TEST(lines[1].starts_with("rank 2 waits to send to rank 3"));
}

// Rank 1 cannot go on for its GPU waits for rank 0, which is stuck.
BOOST_AUTO_TEST_CASE(who_is_presumed_to_wait_for_a_rank_that_is_stuck_is_not_blamed)
{
    const std::vector<RankView> ranks{computing(11.0), presumed_waiting(0, 11.0),
                                      presumed_waiting(1, 11.0)};
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::stuck));
    BOOST_TEST(stall->culprits == std::vector<int>{0}, boost::test_tools::per_element());
    BOOST_TEST(
        describe(*stall, ranks, names(3))[1].starts_with("rank 1 waits for rank 0 for 11 s"));
}

// Rank 1 is stuck itself, long past the message from rank 0 that its GPU may have waited for.
BOOST_AUTO_TEST_CASE(who_is_presumed_to_wait_for_those_that_wait_for_it_is_stuck)
{
    const std::vector<RankView> ranks{waiting(1, 11.0), presumed_waiting(0, 11.0),
                                      presumed_waiting(1, 11.0)};
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::stuck));
    BOOST_TEST(stall->culprits == std::vector<int>{1}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(who_cannot_connect_is_told_what_to_look_at)
{
    std::vector<RankView> ranks{waiting(1, 301.0), waiting(0, 301.0)};
    BOOST_TEST(what_to_do(*find_stall(ranks, bounds, 0), ranks).empty());
    for (RankView& view : ranks) {
        view.state.phase = RankPhase::connecting;
        view.state.in_action = false;
    }
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_TEST_REQUIRE(stall.has_value());
    BOOST_TEST(what_to_do(*stall, ranks).find("NCCL_SOCKET_IFNAME") != std::string::npos);
    const auto lines = describe(*stall, ranks, names(2));
    BOOST_TEST(lines[1].find("connecting by NCCL") != std::string::npos, lines[1]);
    BOOST_TEST(what_to_do({Stall::Kind::silent, {1}}, ranks).empty()); // that was stopped
    ranks[0].unchanged_seconds = 299.0;
    BOOST_TEST(!find_stall(ranks, bounds, 0).has_value());
}

BOOST_AUTO_TEST_CASE(a_circle_is_not_judged_while_somebody_moves)
{
    const std::vector<RankView> ranks{waiting(1, 11.0), waiting(0, 11.0), waiting(0, 3.0)};
    BOOST_TEST(!find_stall(ranks, bounds, 0));
}

BOOST_AUTO_TEST_CASE(a_collective_that_does_not_end_blames_no_rank)
{
    const std::vector<RankView> ranks(3, in_collective(4, 11.0));
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    BOOST_TEST((stall->kind == Stall::Kind::incomplete));
    BOOST_TEST(describe(*stall, ranks, names(3)).size() == 4u);
}

BOOST_AUTO_TEST_CASE(a_thousand_ranks_take_a_few_lines)
{
    std::vector<RankView> ranks(1000, in_collective(4, 11.0, 1000));
    ranks[700] = computing(11.0);
    ranks[3] = waiting(700, 11.0);
    const auto stall = find_stall(ranks, bounds, 0);
    BOOST_REQUIRE(stall);
    const auto lines = describe(*stall, ranks, names(1000), 8);
    BOOST_TEST(lines.size() == 10u);
    BOOST_TEST(lines.back() == "and 991 more ranks");
    BOOST_TEST(lines[1].starts_with("rank 3 waits for rank 700"));
}

BOOST_AUTO_TEST_SUITE_END()
