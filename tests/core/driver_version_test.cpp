#include "core/driver_version.hpp"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(driver_version)

BOOST_AUTO_TEST_CASE(both_versions_are_said)
{
    BOOST_TEST(sluice::why_driver_is_too_old(12020, 13000) ==
               "the NVIDIA driver is for CUDA 12.2, this program for CUDA 13.0: the driver is too "
               "old");
    BOOST_TEST(sluice::why_driver_is_too_old(11080, 12060)
                   .find("CUDA 11.8, this program for CUDA "
                         "12.6") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
