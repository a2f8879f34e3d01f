#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(error)

BOOST_AUTO_TEST_CASE(a_users_mistake_says_problem_place_and_remedy)
{
    const UserError error = usage_error("lr is -1", "run.toml:7", "give a positive number");
    BOOST_TEST(std::string(error.what()) ==
               "run.toml:7: lr is -1\n  what to do: give a positive number");
    BOOST_TEST(static_cast<int>(error.code()) == 2);
    BOOST_TEST(error.problem() == "lr is -1");
    BOOST_TEST(error.where() == "run.toml:7");
    BOOST_TEST(error.remedy() == "give a positive number");
    BOOST_TEST(std::string(data_error("no such file").what()) == "no such file");
    BOOST_TEST(static_cast<int>(data_error("x").code()) == 3);
}

BOOST_AUTO_TEST_CASE(a_broken_promise_says_where_and_with_which_values)
{
    const int rows = 3;
    try {
        SLUICE_CHECK(rows == 4, "rows " << rows);
        BOOST_ERROR("nothing thrown");
    } catch (const InvariantError& error) {
        const std::string text = error.what();
        BOOST_TEST(text.find("error_test.cpp:") != std::string::npos, text);
        BOOST_TEST(text.find("broken invariant: rows == 4 (rows 3)") != std::string::npos, text);
    }
    SLUICE_CHECK(rows == 3, "not evaluated");
}

BOOST_AUTO_TEST_SUITE_END()
