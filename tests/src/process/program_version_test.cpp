#include "src/process/program_version.hpp"

#include <boost/test/unit_test.hpp>
#include <regex>

BOOST_AUTO_TEST_SUITE(program_version)

BOOST_AUTO_TEST_CASE(it_names_the_commit_where_there_is_one)
{
    const std::string text = sluice::program_version();
    const std::regex form(R"(sluice \d+\.\d+\.\d+( \([0-9a-f]{12}(, changed)?\))?)");
    BOOST_TEST(std::regex_match(text, form), text);
}

BOOST_AUTO_TEST_SUITE_END()
