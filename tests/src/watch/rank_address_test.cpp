#include "src/watch/rank_address.hpp"

#include <boost/test/unit_test.hpp>
#include <unistd.h>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(rank_address)

BOOST_AUTO_TEST_CASE(survives_its_way_as_text)
{
    RankAddress sent = address_of_this_rank(4711);
    sent.addresses = {"10.0.0.1", "192.168.3.4"};
    const RankAddress got = rank_address_from(to_text(sent));
    BOOST_TEST(got.host == sent.host);
    BOOST_TEST(got.machine == sent.machine);
    BOOST_TEST(got.process == getpid());
    BOOST_TEST(got.port == 4711);
    BOOST_TEST(got.addresses == sent.addresses, boost::test_tools::per_element());
    BOOST_TEST(got.token == sent.token);
    BOOST_TEST(address_of_this_rank(0).token != sent.token);
}

BOOST_AUTO_TEST_CASE(the_second_centre_is_on_another_machine_where_there_is_one)
{
    std::vector<RankAddress> ranks(5);
    BOOST_TEST(choose_centres({ranks[0]}) == std::vector<int>{0}, boost::test_tools::per_element());
    BOOST_TEST(choose_centres(ranks) == (std::vector<int>{0, 1}), boost::test_tools::per_element());
    ranks[3].machine = ranks[4].machine = "another";
    BOOST_TEST(choose_centres(ranks) == (std::vector<int>{0, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
