#include "pipeline/idle_causes.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <random>

using namespace sluice;

namespace {

std::vector<ChunkCosts> alike(std::int32_t chunks, ChunkCosts costs)
{
    return std::vector<ChunkCosts>(static_cast<std::size_t>(chunks), costs);
}

} // namespace

BOOST_AUTO_TEST_SUITE(idle_causes)

// F = 1, B = 2, P = 2, M = 2, a transfer takes 0.5: simulator_test works out 10 s, 4 of them idle;
// without transfers the update takes 9 s.
BOOST_AUTO_TEST_CASE(transfers_by_hand)
{
    const IdleByCause by_cause =
        sluice::idle_causes(make_1f1b(2, 2), alike(2, {1.0, 1.0, 1.0, 0.5}), 0.25);
    BOOST_TEST(by_cause.total == 10.25);
    for (std::size_t rank : {0, 1}) {
        BOOST_TEST(by_cause.busy[rank] == 6.0);
        BOOST_TEST(by_cause.ranks[rank].fill_drain == 3.0);
        BOOST_TEST(by_cause.ranks[rank].imbalance == 0.0);
        BOOST_TEST(by_cause.ranks[rank].exposed_transfer == 1.0);
        BOOST_TEST(by_cause.ranks[rank].barrier == 0.25);
        BOOST_TEST(by_cause.ranks[rank].idle() == 4.25);
    }
}

// Chunks of 3 and 6 s cost 4.5 s on average. 1F1B, P = 2, M = 4: the slower rank computes 24 s and
// fills for 1 s and drains for 2 s, 27 s in all; its mean chunk would have idled 4.5 s. The faster
// one computes 12 s and idles 15.
BOOST_AUTO_TEST_CASE(imbalance_by_hand)
{
    std::vector<ChunkCosts> costs = alike(2, {1.0, 1.0, 1.0, 0.0});
    costs[1] = {2.0, 2.0, 2.0, 0.0};
    const IdleByCause by_cause = sluice::idle_causes(make_1f1b(2, 4), costs);
    BOOST_TEST(by_cause.total == 27.0);
    BOOST_TEST(by_cause.ranks[0].fill_drain == 4.5);
    BOOST_TEST(by_cause.ranks[0].imbalance == 10.5);
    BOOST_TEST(by_cause.ranks[1].fill_drain == 4.5);
    BOOST_TEST(by_cause.ranks[1].imbalance == -1.5); // it never waits for the other
    BOOST_TEST(by_cause.ranks[0].exposed_transfer == 0.0);
    BOOST_TEST(by_cause.mean().fill_drain == 4.5);
    BOOST_TEST(by_cause.mean().imbalance == 4.5);
    BOOST_TEST(by_cause.mean().idle() == 9.0);
}

// Whole numbers of seconds are exact in floating point, so "add up" means equal.
BOOST_AUTO_TEST_CASE(causes_add_up_to_the_idle_time)
{
    std::mt19937 random(11);
    const auto seconds = [&] { return static_cast<double>(64 * (1 + random() % 20)); };
    for (int trial = 0; trial < 200; ++trial) {
        const auto ranks = static_cast<std::int32_t>(1 << (random() % 4)); // a mean that is exact
        const auto microbatches = static_cast<std::int32_t>(1 + random() % 12);
        std::vector<ChunkCosts> costs;
        for (std::int32_t chunk = 0; chunk < ranks; ++chunk)
            costs.push_back({seconds(), seconds(), seconds(), seconds()});
        for (const Schedule& schedule :
             {make_gpipe(ranks, microbatches), make_1f1b(ranks, microbatches),
              with_communication(make_1f1b(ranks, microbatches, 1))}) {
            const Simulation simulation = simulate(schedule, costs);
            const IdleByCause by_cause = sluice::idle_causes(schedule, costs, 8.0);
            BOOST_TEST(by_cause.total == simulation.total + 8.0);
            for (std::size_t rank = 0; rank < simulation.idle.size(); ++rank) {
                BOOST_TEST(by_cause.ranks[rank].idle() == simulation.idle[rank] + 8.0);
                BOOST_TEST(by_cause.busy[rank] == simulation.busy[rank]);
                BOOST_TEST(by_cause.ranks[rank].fill_drain >= 0.0);
            }
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()
