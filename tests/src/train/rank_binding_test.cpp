#include "src/train/rank_binding.hpp"

#include <boost/test/unit_test.hpp>

#include <sched.h>
#include <thread>

using namespace sluice;

namespace {

void check(const std::vector<RankBinding>& of_rank, const std::vector<std::string>& wanted)
{
    const auto lines = binding_lines(of_rank);
    BOOST_TEST(lines == wanted, boost::test_tools::per_element());
}

} // namespace

BOOST_AUTO_TEST_SUITE(rank_binding)

BOOST_AUTO_TEST_CASE(one_line_per_node)
{
    check({{"n1", "0-3", ""}, {"n1", "4-7", ""}, {"n2", "0-3", ""}, {"n2", "4-7", ""}},
          {"n1: rank 0 on cores 0-3, rank 1 on cores 4-7",
           "n2: rank 2 on cores 0-3, rank 3 on cores 4-7"});
}

BOOST_AUTO_TEST_CASE(ranks_that_share_are_told_together)
{
    check({{"n1", "0-1", ""}, {"n1", "0-1", ""}, {"n1", "0-1", ""}, {"n1", "2", ""}},
          {"n1: ranks 0-2 share cores 0-1, rank 3 on cores 2"});
}

BOOST_AUTO_TEST_CASE(ranks_dealt_out_in_turn)
{
    check({{"n1", "0-1", ""}, {"n2", "0-1", ""}, {"n1", "0-1", ""}, {"n2", "0-1", ""}},
          {"n1: ranks 0,2 share cores 0-1", "n2: ranks 1,3 share cores 0-1"});
}

BOOST_AUTO_TEST_CASE(gpus)
{
    check({{"n1", "0-1", "0"}, {"n1", "0-1", "1"}},
          {"n1: rank 0 on cores 0-1 and GPUs 0, rank 1 on cores 0-1 and GPUs 1"});
}

BOOST_AUTO_TEST_CASE(this_process)
{
    cpu_set_t old, one;
    BOOST_REQUIRE(sched_getaffinity(0, sizeof old, &old) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &old))
        ++first;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    BOOST_REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    const RankBinding here = binding_from(to_text(binding_of_this_rank()));
    sched_setaffinity(0, sizeof old, &old);
    BOOST_TEST(here.cores == std::to_string(first));
    BOOST_TEST(!here.node.empty());
}

BOOST_AUTO_TEST_SUITE_END()
