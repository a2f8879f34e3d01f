#include "core/gpu_queues.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <string>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(gpu_queues)

BOOST_AUTO_TEST_CASE(all_there_are_unless_somebody_chose)
{
    constexpr const char* variable = "CUDA_DEVICE_MAX_CONNECTIONS";
    unsetenv(variable);
    BOOST_CHECK_EQUAL(num_queues_on_gpus(), 8);
    ask_for_queues_on_gpus();
    BOOST_TEST(std::string(std::getenv(variable)) == "32");
    BOOST_CHECK_EQUAL(num_queues_on_gpus(), 32);
    setenv(variable, "1", 1);
    ask_for_queues_on_gpus();
    BOOST_CHECK_EQUAL(num_queues_on_gpus(), 1);
    setenv(variable, "99", 1);
    BOOST_CHECK_EQUAL(num_queues_on_gpus(), 32);
    unsetenv(variable);
}

BOOST_AUTO_TEST_SUITE_END()
