// Idle time and memory of every schedule against what is known of it: docs/schedules.md.

#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace sluice;

namespace {

constexpr std::int32_t P = 8, M = 32;

/// Per chunk.
constexpr ChunkCosts cost_sets[] = {
    {1.0, 1.0, 1.0, 0.0}, {2.0, 4.0, 1.0, 0.0}, {3.0, 2.0, 5.0, 0.0}, {4.0, 5.0, 3.0, 0.0}};

ScheduleRequest request_for(ScheduleFamily family, std::int32_t chunks_per_rank,
                            const ChunkCosts& costs)
{
    const std::int32_t v = chunks_per_rank_of(family, chunks_per_rank);
    return {.family = family,
            .num_ranks = P,
            .num_microbatches = M,
            .chunks_per_rank = v,
            .extra_warmup = 0,
            .costs = std::vector<ChunkCosts>(static_cast<std::size_t>(P * v), costs)};
}

double idle_of(const ScheduleRequest& request)
{
    const Simulation simulation = simulate(make_schedule(request), request.costs);
    return *std::max_element(simulation.idle.begin(), simulation.idle.end());
}

/// Most activations of any chunks alive at once on a rank.
std::int32_t live_on(const Schedule& schedule, std::int32_t rank)
{
    std::int32_t live = 0, most = 0;
    for (const Action& action : schedule.actions[static_cast<std::size_t>(rank)]) {
        if (action.kind == ActionKind::forward)
            most = std::max(most, ++live);
        if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight)
            --live;
    }
    return most;
}

} // namespace

BOOST_AUTO_TEST_SUITE(idle_time)

BOOST_AUTO_TEST_CASE(one_forward_one_backward)
{
    for (const ChunkCosts& c : cost_sets) {
        const double whole = c.forward + c.backward_input + c.backward_weight;
        BOOST_TEST(idle_of(request_for(ScheduleFamily::gpipe, 1, c)) == (P - 1) * whole);
        BOOST_TEST(idle_of(request_for(ScheduleFamily::one_f_one_b, 1, c)) == (P - 1) * whole);
        // F and B of a chunk are 1/v of the stage's.
        for (const std::int32_t v : {1, 2, 3, 4})
            BOOST_TEST(idle_of(request_for(ScheduleFamily::interleaved_1f1b, v, c)) ==
                       (P - 1) * whole);
    }
}

// (P-1)(F+I-W)/v where W <= F and W <= I. A rank cannot start before P-1 forwards, nor the first
// one go on before P-1 input gradients, so that no less than F and I remain of the bracket.
BOOST_AUTO_TEST_CASE(zero_bubble)
{
    for (const ChunkCosts& c : cost_sets) {
        const double bracket = std::max(
            {c.forward + c.backward_input - c.backward_weight, c.forward, c.backward_input});
        BOOST_TEST(idle_of(request_for(ScheduleFamily::zb_h1, 1, c)) == (P - 1) * bracket);
        for (const std::int32_t v : {1, 2, 3, 4})
            BOOST_TEST(idle_of(request_for(ScheduleFamily::interleaved_zb, v, c)) ==
                       (P - 1) * bracket);
    }
}

// The last rank starts P-1 half-stage forwards late, and the barrier waits for it: (P-1) F/2.
BOOST_AUTO_TEST_CASE(zb_v)
{
    BOOST_TEST(idle_of(request_for(ScheduleFamily::zb_v, 2, cost_sets[0])) == P - 1.0);
}

BOOST_AUTO_TEST_CASE(live_activations_are_the_known_ones)
{
    for (const auto& [family, v, stages] :
         std::initializer_list<std::tuple<ScheduleFamily, std::int32_t, std::int32_t>>{
             {ScheduleFamily::gpipe, 1, M},
             {ScheduleFamily::one_f_one_b, 1, P},
             {ScheduleFamily::interleaved_1f1b, 2, P},
             {ScheduleFamily::interleaved_1f1b, 4, P},
             {ScheduleFamily::zb_h1, 1, P},
             {ScheduleFamily::interleaved_zb, 3, P},
             {ScheduleFamily::zb_v, 2, P}}) {
        ScheduleRequest request = request_for(family, v, cost_sets[0]);
        request.costs.clear();
        const Schedule schedule = make_schedule(request);
        BOOST_TEST(claimed_live_activations(request) == stages * v);
        BOOST_TEST(live_on(schedule, 0) == stages * v);
        // All ranks alike where weight gradients wait.
        if (splits_backward(family))
            for (std::int32_t rank = 0; rank < P; ++rank)
                BOOST_TEST(live_on(schedule, rank) == stages * v);
    }
}

BOOST_AUTO_TEST_SUITE_END()
