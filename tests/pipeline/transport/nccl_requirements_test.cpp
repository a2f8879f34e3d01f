#include "pipeline/transport/nccl_requirements.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <utility>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(nccl_requirements)

BOOST_AUTO_TEST_CASE(variables_with_which_nccl_would_hang_are_named)
{
    BOOST_TEST_REQUIRE(why_no_nccl_in_this_environment().empty());
    using Setting = std::pair<const char*, const char*>;
    for (const auto& [variable, value] :
         {Setting{"NCCL_COMM_BLOCKING", "0"}, Setting{"CUDA_LAUNCH_BLOCKING", "1"},
          Setting{"NCCL_COMM_ID", "node7:9999"}, Setting{"NCCL_LAUNCH_ORDER_IMPLICIT", "1"},
          Setting{"NCCL_MIN_NCHANNELS", "32"}, Setting{"NCCL_MIN_NRINGS", "8"},
          Setting{"NCCL_MIN_P2P_NCHANNELS", "5"}, Setting{"NCCL_MIN_CTAS", "5"}}) {
        setenv(variable, value, 1);
        const std::string why = why_no_nccl_in_this_environment();
        BOOST_TEST(why.starts_with(std::string(variable) + "=" + value + " must be unset: "), why);
        unsetenv(variable);
    }
    for (const auto& [variable, value] :
         {Setting{"NCCL_COMM_BLOCKING", "1"}, Setting{"NCCL_COMM_BLOCKING", ""},
          Setting{"CUDA_LAUNCH_BLOCKING", "0"}, Setting{"NCCL_LAUNCH_ORDER_IMPLICIT", "0"},
          Setting{"NCCL_MIN_NCHANNELS", "4"}, Setting{"NCCL_MAX_CTAS", "16"}}) {
        setenv(variable, value, 1);
        BOOST_TEST(why_no_nccl_in_this_environment().empty(), variable);
        unsetenv(variable);
    }
}

BOOST_AUTO_TEST_CASE(blocks_that_somebody_asked_for_are_counted)
{
    BOOST_TEST(max_ctas_in_this_environment() == 0);
    setenv("NCCL_MAX_CTAS", "12", 1);
    BOOST_TEST(max_ctas_in_this_environment() == 12);
    unsetenv("NCCL_MAX_CTAS");
    BOOST_TEST(most_ctas(most_ctas_of_an_edge, 0) == 4);
    BOOST_TEST(most_ctas(most_ctas_of_an_edge, 12) == 16);
    BOOST_TEST(most_ctas(most_ctas_of_an_exchange, 2) == 8);
}

BOOST_AUTO_TEST_CASE(multicast_is_off_unless_somebody_chose)
{
    ask_nccl_for_messages_alone();
    BOOST_TEST(std::string(std::getenv("NCCL_NVLS_ENABLE")) == "0");
    setenv("NCCL_NVLS_ENABLE", "1", 1);
    ask_nccl_for_messages_alone();
    BOOST_TEST(std::string(std::getenv("NCCL_NVLS_ENABLE")) == "1");
    unsetenv("NCCL_NVLS_ENABLE");
}

BOOST_AUTO_TEST_SUITE_END()
