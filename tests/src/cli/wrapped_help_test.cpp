#include "src/cli/wrapped_help.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

using namespace sluice;

namespace {

/// An option whose words alone are longer than narrow lines, one with much to say, and a
/// subcommand.
std::string help_in(std::size_t columns)
{
    CLI::App app{"What it is for, in a sentence that is longer than a narrow terminal", "program"};
    app.formatter(std::make_shared<WrappedHelp>(columns));
    int number = 0;
    bool flag = false;
    app.add_option("-n,--number", number,
                   "How many, told at such length that it takes more than one line");
    app.add_flag("--an-option-with-a-name-beyond-the-column", flag, "Short");
    app.add_subcommand("sub", "Does a part");
    return app.help();
}

std::size_t longest_line(const std::string& text)
{
    std::size_t longest = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        longest = std::max(longest, line.size());
    return longest;
}

} // namespace

BOOST_AUTO_TEST_SUITE(wrapped_help)

BOOST_AUTO_TEST_CASE(lines_fit_the_columns_and_nothing_is_lost)
{
    const auto words_of = [](const std::string& text) {
        std::istringstream in(text);
        return std::vector<std::string>(std::istream_iterator<std::string>(in), {});
    };
    const std::string wide = help_in(200);
    for (const std::size_t columns : {45u, 60u, 80u}) {
        const std::string narrow = help_in(columns);
        BOOST_TEST(longest_line(narrow) <= columns, narrow);
        BOOST_TEST(words_of(narrow) == words_of(wide), boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(descriptions_stand_in_their_column)
{
    const std::string help = help_in(60);
    const std::string column(24, ' ');
    BOOST_TEST(help.find("\n  -n,--number INT       How many, told at such length that\n" + column +
                         "it takes more than one line\n") != std::string::npos,
               help);
    BOOST_TEST(help.find("-beyond-the-column\n" + column + "Short\n") != std::string::npos, help);
    BOOST_TEST(help.find("\n  sub                   Does a part\n") != std::string::npos, help);
}

BOOST_AUTO_TEST_CASE(columns_are_those_of_the_environment)
{
    const char* const before = std::getenv("COLUMNS");
    const std::string kept = before != nullptr ? before : "";
    setenv("COLUMNS", "123", 1);
    BOOST_TEST(help_columns() == 123u);
    setenv("COLUMNS", "7", 1);
    BOOST_TEST(help_columns() == 40u);
    unsetenv("COLUMNS");
    BOOST_TEST(help_columns() >= 40u);
    if (before != nullptr)
        setenv("COLUMNS", kept.c_str(), 1);
}

BOOST_AUTO_TEST_SUITE_END()
