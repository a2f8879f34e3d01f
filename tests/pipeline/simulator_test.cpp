#include "pipeline/simulator.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

std::vector<ChunkCosts> alike(std::int32_t chunks, ChunkCosts costs)
{
    return std::vector<ChunkCosts>(static_cast<std::size_t>(chunks), costs);
}

} // namespace

BOOST_AUTO_TEST_SUITE(simulator)

BOOST_AUTO_TEST_CASE(times_worked_out_by_hand)
{
    // F = 1, B = 2, a transfer takes 0.5:
    // 0: 0F0 0-1, 0F1 1-2, then waits for the gradient of 0 until 5
    // 1: 1F0 1.5-2.5, 1B0 2.5-4.5; 1F1 4.5-5.5, 1B1 5.5-7.5
    const Schedule schedule = make_1f1b(2, 2);
    const auto costs = alike(2, {1.0, 1.0, 1.0, 0.5});
    for (const Schedule& each : {schedule, with_communication(schedule)}) {
        const Simulation simulation = simulate(each, costs);
        const auto time = [&](Action action) {
            const auto& actions = each.actions[action.chunk];
            const auto at = std::find(actions.begin(), actions.end(), action) - actions.begin();
            return simulation.times[action.chunk][static_cast<std::size_t>(at)];
        };
        BOOST_TEST(time({ActionKind::forward, 0, 1}).start == 1.0);
        BOOST_TEST(time({ActionKind::forward, 1, 0}).start == 1.5);
        BOOST_TEST(time({ActionKind::backward, 1, 0}).end == 4.5);
        BOOST_TEST(time({ActionKind::backward, 0, 0}).start == 5.0);
        BOOST_TEST(time({ActionKind::backward, 1, 1}).end == 7.5);
        BOOST_TEST(time({ActionKind::backward, 0, 1}).start == 8.0);
        BOOST_TEST(simulation.total == 10.0);
        BOOST_TEST(simulation.busy[0] == 6.0);
        BOOST_TEST(simulation.idle[0] == 4.0);
        BOOST_TEST(simulation.idle[1] == 4.0);
        for (const auto& times : simulation.times)
            BOOST_TEST(times.back().end == 10.0); // the optimizer step waits for everyone
    }
}

BOOST_AUTO_TEST_CASE(idle_time_is_the_known_one)
{
    for (std::int32_t ranks : {1, 2, 3, 4, 8})
        for (std::int32_t microbatches : {8, 9, 32})
            for (const ChunkCosts& costs :
                 {ChunkCosts{1.0, 1.0, 1.0, 0.0}, ChunkCosts{3.0, 2.0, 5.0, 0.0},
                  ChunkCosts{2.0, 4.0, 1.0, 0.0}})
                for (const Schedule& schedule :
                     {make_gpipe(ranks, microbatches), make_1f1b(ranks, microbatches)})
                    for (const Schedule& each : {schedule, with_communication(schedule)}) {
                        const Simulation simulation = simulate(each, alike(ranks, costs));
                        const double one =
                            costs.forward + costs.backward_input + costs.backward_weight;
                        for (std::int32_t rank = 0; rank < ranks; ++rank) {
                            BOOST_TEST(simulation.idle[rank] == (ranks - 1) * one);
                            BOOST_TEST(simulation.busy[rank] == microbatches * one);
                        }
                    }
}

// "Doubling the warm-up gives exactly (P-1)(F+B+2c) at 2P-1 activations."
BOOST_AUTO_TEST_CASE(deep_warmup_hides_transfers)
{
    const ChunkCosts costs{2.0, 2.0, 2.0, 1.0};
    for (std::int32_t ranks : {2, 4, 8}) {
        const auto idle = [&](std::int32_t microbatches, std::int32_t extra) {
            return simulate(make_1f1b(ranks, microbatches, extra), alike(ranks, costs)).idle[0];
        };
        const double hidden = (ranks - 1) * (6.0 + 2.0 * costs.transfer);
        BOOST_TEST(idle(32, 1) == hidden);
        BOOST_TEST(idle(64, 1) == hidden);
        BOOST_TEST(idle(32, 0) > hidden);
        BOOST_TEST(idle(64, 0) > idle(32, 0)); // grows with every micro-batch
    }
}

BOOST_AUTO_TEST_CASE(the_slowest_chunk_sets_the_pace)
{
    std::vector<ChunkCosts> costs = alike(3, {1.0, 1.0, 1.0, 0.0});
    costs[2] = {2.0, 2.0, 2.0, 0.0};
    const Simulation simulation = simulate(make_1f1b(3, 100), costs);
    BOOST_TEST(simulation.total == 600.0 + 2.0 * 3.0); // fill and drain of the other two
    BOOST_TEST(simulation.idle[2] == 6.0);
    BOOST_TEST(simulation.idle[0] == 306.0);
}

// A receive posted late holds its message back; one posted early does not.
BOOST_AUTO_TEST_CASE(late_receives_expose_transfers)
{
    const auto costs = alike(2, {1.0, 1.0, 1.0, 0.5});
    const Schedule schedule = make_gpipe(2, 4);
    const double early = simulate(with_communication(schedule, 1), costs).total;
    const double late = simulate(with_communication(schedule, 0), costs).total;
    BOOST_TEST(early == simulate(schedule, costs).total);
    BOOST_TEST(late > early);
}

BOOST_AUTO_TEST_CASE(transfers_within_a_rank_are_free)
{
    const Schedule v =
        parse_schedule("ranks 1 chunks 2 microbatches 1\n0: 0F0 1F0 1B0 0B0 O\n", "v");
    BOOST_TEST(simulate(v, alike(2, {1.0, 1.0, 1.0, 100.0})).total == 6.0);
}

BOOST_AUTO_TEST_CASE(split_backward_sends_after_the_input_gradient)
{
    const Schedule split = parse_schedule("ranks 2 chunks 2 microbatches 1\n"
                                          "0: 0F0 0I0 0W0 O\n1: 1F0 1I0 1W0 O\n",
                                          "split");
    BOOST_TEST(simulate(split, alike(2, {1.0, 1.0, 1.0, 0.0})).total == 5.0);
    BOOST_TEST(simulate(make_gpipe(2, 1), alike(2, {1.0, 1.0, 1.0, 0.0})).total == 6.0);
}

BOOST_AUTO_TEST_CASE(bounds_hold_for_every_schedule)
{
    std::vector<ChunkCosts> costs = alike(4, {1.0, 1.0, 1.0, 0.5});
    costs[2] = {2.0, 3.0, 4.0, 0.5};
    for (const Schedule& schedule : {make_gpipe(4, 6), make_1f1b(4, 6), make_1f1b(4, 6, 2)}) {
        BOOST_TEST(ideal_seconds(schedule, costs) == 6 * 18.0 / 4);
        BOOST_TEST(busiest_rank_seconds(schedule, costs) == 6 * 9.0);
        BOOST_TEST(simulate(schedule, costs).total >= busiest_rank_seconds(schedule, costs));
    }
    // Two chunks on one rank add up.
    const Schedule v =
        parse_schedule("ranks 1 chunks 2 microbatches 1\n0: 0F0 1F0 1B0 0B0 O\n", "v");
    BOOST_TEST(busiest_rank_seconds(v, alike(2, {1.0, 1.0, 1.0, 0.0})) == 6.0);
    BOOST_TEST(simulate(v, alike(2, {1.0, 1.0, 1.0, 0.0})).idle[0] == 0.0);
}

BOOST_AUTO_TEST_CASE(totals_are_the_same_without_each_actions_times)
{
    const auto costs = alike(4, {3.0, 2.0, 5.0, 0.5});
    const Simulation kept = simulate(make_1f1b(4, 9), costs);
    const Simulation totals = simulate(make_1f1b(4, 9), costs, ActionTimes::left_out);
    BOOST_TEST(totals.times.empty());
    BOOST_TEST(totals.total == kept.total);
    BOOST_TEST(totals.busy == kept.busy, boost::test_tools::per_element());
    BOOST_TEST(totals.idle == kept.idle, boost::test_tools::per_element());
}

// 8.4 million actions: what a program of a thousand GPUs has.
BOOST_AUTO_TEST_CASE(a_thousand_stages_and_four_thousand_micro_batches)
{
    const std::int32_t ranks = 1024, microbatches = 4096;
    const Simulation simulation = simulate(
        make_1f1b(ranks, microbatches), alike(ranks, {1.0, 1.0, 1.0, 0.0}), ActionTimes::left_out);
    BOOST_TEST(simulation.total == 3.0 * (microbatches + ranks - 1));
    BOOST_TEST(simulation.idle[511] == 3.0 * (ranks - 1));
}

BOOST_AUTO_TEST_CASE(a_schedule_that_stands_still_is_a_broken_promise)
{
    const Schedule stuck = parse_schedule("ranks 2 chunks 2 microbatches 1\n"
                                          "0: 0B0 0F0 O\n1: 1F0 1B0 O\n",
                                          "stuck");
    BOOST_CHECK_THROW(simulate(stuck, alike(2, {1.0, 1.0, 1.0, 0.0})), InvariantError);
    BOOST_CHECK_THROW(simulate(make_gpipe(2, 1), alike(1, {})), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
