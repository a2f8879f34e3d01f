#include "pipeline/schedule/list_scheduling.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/interleaved.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/v_shape.hpp"

#include <boost/test/unit_test.hpp>

#include <limits>

using namespace sluice;

namespace {

std::vector<ChunkCosts> alike(std::int32_t chunks, ChunkCosts costs)
{
    return std::vector<ChunkCosts>(static_cast<std::size_t>(chunks), costs);
}

constexpr double only_in_gaps = std::numeric_limits<double>::max();

} // namespace

BOOST_AUTO_TEST_SUITE(list_scheduling)

BOOST_AUTO_TEST_CASE(what_it_says_is_what_the_simulator_says)
{
    for (const Schedule& reference :
         {make_zb_v(4, 9), make_v_half(5, 7), make_interleaved(3, 8, 2, 0, BackwardParts::split),
          make_interleaved(4, 7, 2, 0, BackwardParts::whole)}) {
        std::vector<ChunkCosts> costs = alike(reference.num_chunks, {1.0, 1.5, 0.75, 0.25});
        costs.back() = {3.0, 2.0, 1.0, 0.25};
        for (const double delay : {0.0, 2.0, only_in_gaps})
            for (const std::int32_t live : {2, 5, 100}) {
                const ListSchedule list = schedule_by_list(reference, costs, {live, delay, 0.5});
                BOOST_TEST(check_schedule(list.schedule).good());
                // Where it left a gap on purpose the simulator, which knows the order only, may
                // not.
                BOOST_TEST(simulate(list.schedule, costs).total <= list.total);
            }
    }
}

BOOST_AUTO_TEST_CASE(keeps_an_order_that_suits_the_costs)
{
    const Schedule reference = make_interleaved(8, 24, 1, 0, BackwardParts::split);
    const auto costs = alike(8, {1.0, 1.0, 1.0, 0.0});
    const ListSchedule list = schedule_by_list(reference, costs, {8, only_in_gaps, 0.0});
    BOOST_TEST(list.total == simulate(reference, costs).total);
}

// Long weight gradients fill every gap: only the (P-1) F before the last rank's first forward stay.
BOOST_AUTO_TEST_CASE(suits_other_costs_better)
{
    const auto costs = alike(16, {3.0, 2.0, 5.0, 0.0});
    const Schedule reference = make_zb_v(8, 32);
    BOOST_TEST(simulate(reference, costs).total == 640.0 + 33.0);
    BOOST_TEST(schedule_by_list(reference, costs, {16, 40.0, 0.0}).total == 640.0 + 21.0);
}

BOOST_AUTO_TEST_CASE(memory_for_one_microbatch_is_enough)
{
    const auto costs = alike(6, {1.0, 1.0, 1.0, 0.0});
    const ListSchedule list = schedule_by_list(make_zb_v(3, 4), costs, {2, 0.0, 0.0});
    const auto report = check_schedule(list.schedule);
    BOOST_TEST(report.good());
    BOOST_CHECK_THROW(schedule_by_list(make_zb_v(3, 4), costs, {1, 0.0, 0.0}), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
