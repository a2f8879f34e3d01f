#include "pipeline/shared_cores.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/v_shape.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <numeric>

using namespace sluice;

namespace {

std::vector<ChunkCosts> alike(std::int32_t chunks, ChunkCosts costs)
{
    return std::vector<ChunkCosts>(static_cast<std::size_t>(chunks), costs);
}

const auto nearly = boost::test_tools::tolerance(1e-12);

} // namespace

BOOST_AUTO_TEST_SUITE(shared_cores)

BOOST_AUTO_TEST_CASE(three_ranks_on_two_cores_by_hand)
{
    // Forwards of one second. 0-1: rank 0. 1-2: ranks 0 and 1. From 2 on all three, at two thirds
    // of a core each, until 3.5. Then ranks 1 and 2 until 4.5, and rank 2 alone.
    const Schedule schedule = make_forward_only({0, 1, 2}, 3, 3);
    const auto costs = alike(3, {1.0, 0.0, 0.0, 0.0});
    BOOST_TEST(seconds_on_cores(schedule, costs, 2) == 5.5, nearly);
    BOOST_TEST(seconds_on_cores(schedule, costs, 1) == 9.0, nearly);
    BOOST_TEST(seconds_on_cores(schedule, costs, 3) == 5.0, nearly);
}

BOOST_AUTO_TEST_CASE(between_what_cores_and_schedule_allow)
{
    for (const Schedule& schedule :
         {make_gpipe(4, 6), make_1f1b(4, 6), make_1f1b(4, 2), make_zb_v(4, 6), make_zb_v(4, 1)})
        for (const Schedule& each : {schedule, with_communication(schedule)}) {
            std::vector<ChunkCosts> costs;
            for (std::int32_t chunk = 0; chunk < each.num_chunks; ++chunk)
                costs.push_back({1.0 + chunk % 3, 1.5, 0.5 + chunk % 2, 0.0});
            const Simulation simulation = simulate(each, costs);
            const double work =
                std::accumulate(simulation.busy.begin(), simulation.busy.end(), 0.0);
            BOOST_TEST(seconds_on_cores(each, costs, 4) == simulation.total, nearly);
            BOOST_TEST(seconds_on_cores(each, costs, 64) == simulation.total, nearly);
            BOOST_TEST(seconds_on_cores(each, costs, 1) == work, nearly);
            const double on_two = seconds_on_cores(each, costs, 2);
            BOOST_TEST(on_two >= std::max(simulation.total, work / 2.0));
            BOOST_TEST(on_two <= work);
            for (ChunkCosts& one : costs)
                one.transfer = 9.0; // messages are free
            BOOST_TEST(seconds_on_cores(each, costs, 2) == on_two);
        }
}

BOOST_AUTO_TEST_CASE(broken_promises)
{
    BOOST_CHECK_THROW(seconds_on_cores(make_1f1b(2, 2), alike(2, {}), 0), InvariantError);
    BOOST_CHECK_THROW(seconds_on_cores(make_1f1b(2, 2), alike(3, {}), 1), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
