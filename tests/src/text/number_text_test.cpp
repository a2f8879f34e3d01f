#include "src/text/number_text.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(number_text)

BOOST_AUTO_TEST_CASE(counts)
{
    BOOST_TEST(count_text(512.0) == "512");
    BOOST_TEST(count_text(5'140.0) == "5.1k");
    BOOST_TEST(count_text(514'000.0) == "514k");
    BOOST_TEST(count_text(71'000'000.0) == "71.0M");
    BOOST_TEST(count_text(1.5e12) == "1.5T");
    BOOST_TEST(count_text(2.0e15) == "2000T");
}

BOOST_AUTO_TEST_CASE(amounts_of_memory)
{
    BOOST_TEST(bytes_text(80'000'000'000u) == "80.0 GB");
    BOOST_TEST(bytes_text(7'931'000'000u) == "7.93 GB");
    BOOST_TEST(bytes_text(512'000'000u) == "512 MB");
    BOOST_TEST(bytes_text(999'900'000u) == "1.00 GB");
    BOOST_TEST(bytes_text(1'500u) == "1.50 kB");
    BOOST_TEST(bytes_text(999u) == "999 B");
    BOOST_TEST(bytes_text(2'150'000'000'000u) == "2.15 TB");
}

BOOST_AUTO_TEST_CASE(stretches_of_time)
{
    BOOST_TEST(duration_text(0.0) == "0:00");
    BOOST_TEST(duration_text(64.2) == "1:05"); // what is begun counts
    BOOST_TEST(duration_text(7'389.0) == "2:03:09");
    BOOST_TEST(duration_text(274'200.0) == "3d 04:10");
}

BOOST_AUTO_TEST_SUITE_END()
