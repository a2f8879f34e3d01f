#include "src/plan/memory_amount.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(memory_amount)

BOOST_AUTO_TEST_CASE(amounts_people_write)
{
    for (const auto& [text, bytes] : {std::pair("80GB", 80'000'000'000u),
                                      {"80 gb", 80'000'000'000u},
                                      {"2.5G", 2'500'000'000u},
                                      {"512MiB", 536'870'912u},
                                      {"1k", 1000u},
                                      {"1000", 1000u},
                                      {"3B", 3u},
                                      {"1TiB", 1'099'511'627'776u}})
        BOOST_TEST(bytes_from(text, "--memory") == bytes);
    for (const char* text :
         {"", "GB", "80 gigs", "-1GB", "0", "0.5", "0.0001kB", "80GBs", "1e30GB", "nan"})
        BOOST_CHECK_EXCEPTION(bytes_from(text, "--memory"), UserError, [](const UserError& error) {
            return error.where() == "--memory" && error.code() == ExitCode::usage;
        });
}

BOOST_AUTO_TEST_SUITE_END()
