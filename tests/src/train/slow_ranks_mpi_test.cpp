// np: 2 4
#include "src/train/slow_ranks.hpp"

#include "pipeline/partition.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <string>
#include <unistd.h>
#include <vector>

using namespace sluice;
using sluice::testing::shared_transport;

namespace {

std::string this_host()
{
    char name[256] = {};
    gethostname(name, sizeof name - 1);
    return name;
}

/// A layer for each chunk.
std::vector<LayerRange> partition_of(const Schedule& program)
{
    return partition_by_cost(program.num_chunks, program.rank_of_chunk, {});
}

/// What is said over 200 updates, with the last rank twice as slow from update `slow_from` on, when
/// the last layer's gate becomes `last_gate`; it was closed before.
std::vector<SlowRank> observe(SlowRanks& ranks, int num_ranks, std::int32_t num_layers,
                              int slow_from, double last_gate)
{
    std::vector<double> seconds(static_cast<std::size_t>(num_ranks), 0.5);
    std::vector<double> alphas(static_cast<std::size_t>(num_layers), 1.0);
    alphas.back() = 0.0;
    std::vector<SlowRank> said;
    for (int update = 0; update < 200; ++update) {
        if (update == slow_from) {
            seconds.back() = 1.0;
            alphas.back() = last_gate;
        }
        for (const SlowRank& rank : ranks.observe(seconds, alphas))
            said.push_back(rank);
    }
    return said;
}

} // namespace

BOOST_AUTO_TEST_SUITE(slow_ranks)

BOOST_AUTO_TEST_CASE(names_replica_rank_stages_and_host)
{
    Transport& world = shared_transport();
    const int last = world.num_ranks() - 1;
    const Replicas replicas(world, 2);
    // Chunks 0, 1, ... go around the ranks of a replica, twice.
    Schedule program = make_gpipe(2 * replicas.ranks_per_replica(), 1);
    for (std::size_t chunk = 0; chunk < program.rank_of_chunk.size(); ++chunk)
        program.rank_of_chunk[chunk] =
            static_cast<std::int32_t>(chunk) % replicas.ranks_per_replica();
    SlowRanks ranks(program, partition_of(program), replicas);
    const auto said = observe(ranks, world.num_ranks(), program.num_chunks, 100, 0.0);
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].notice.rank == last);
    BOOST_TEST(said[0].replica == 1);
    BOOST_TEST(said[0].host == this_host());
    const bool two = world.num_ranks() == 2;
    BOOST_TEST(said[0].stages ==
                   (two ? std::vector<std::int64_t>{0, 1} : std::vector<std::int64_t>{1, 3}),
               boost::test_tools::per_element());
    BOOST_TEST(said[0].name == "replica 1, rank " + std::to_string(last) +
                                   (two ? " (stages 0, 1) on " : " (stages 1, 3) on ") +
                                   this_host());
}

BOOST_AUTO_TEST_CASE(a_gate_that_opens_changes_the_work_and_names_nobody)
{
    Transport& world = shared_transport();
    const Replicas replicas(world, 1);
    const Schedule program = make_gpipe(world.num_ranks(), 1);
    SlowRanks ranks(program, partition_of(program), replicas);
    BOOST_TEST(observe(ranks, world.num_ranks(), program.num_chunks, 100, 0.1).empty());
}

BOOST_AUTO_TEST_CASE(replicas_tell_who_is_slow_from_the_start)
{
    Transport& world = shared_transport();
    const Replicas replicas(world, world.num_ranks());
    const Schedule program = make_gpipe(1, 1);
    SlowRanks ranks(program, partition_of(program), replicas);
    const auto said = observe(ranks, world.num_ranks(), 1, 0, 1.0);
    if (world.num_ranks() == 2) {
        BOOST_TEST(said.empty()); // no majority
        return;
    }
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].notice.from_start);
    BOOST_TEST(said[0].notice.rank == world.num_ranks() - 1);
    BOOST_TEST(said[0].notice.slowdown == 2.0);
}

BOOST_AUTO_TEST_CASE(stages_that_hold_more_are_not_slow)
{
    // In a pipeline of four the last rank holds the head, the first the embedding: two are alike.
    Transport& world = shared_transport();
    const Replicas replicas(world, 1);
    const Schedule program = make_gpipe(world.num_ranks(), 1);
    SlowRanks ranks(program, partition_of(program), replicas);
    BOOST_TEST(observe(ranks, world.num_ranks(), program.num_chunks, 0, 1.0).empty());
}

BOOST_AUTO_TEST_SUITE_END()
