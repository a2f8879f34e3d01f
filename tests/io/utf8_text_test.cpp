#include "io/utf8_text.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

/// The problem found when `text` arrives in chunks of `step` bytes; "" for none.
std::string problem_of(std::string_view text, std::size_t step)
{
    TextCheck check;
    for (std::size_t begin = 0; begin < text.size(); begin += step)
        check.feed(text.substr(begin, step));
    check.finish();
    return check.problem();
}

} // namespace

BOOST_AUTO_TEST_SUITE(utf8_text)

BOOST_AUTO_TEST_CASE(never_cuts_a_code_point)
{
    BOOST_TEST(whole_code_points("") == 0u);
    BOOST_TEST(whole_code_points("abc") == 3u);
    BOOST_TEST(whole_code_points("a\xC3") == 1u);
    BOOST_TEST(whole_code_points("a\xC3\xA9") == 3u);
    BOOST_TEST(whole_code_points("a\xE2\x82") == 1u);
    BOOST_TEST(whole_code_points("\xE2\x82\xAC") == 3u);
    BOOST_TEST(whole_code_points("\xF0\x9F\x8C") == 0u);
    BOOST_TEST(whole_code_points("\xF0\x9F\x8C\x8A") == 4u);
}

BOOST_AUTO_TEST_CASE(text_is_text_however_it_is_cut)
{
    const std::string text = "water \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8C\x8A\nflows";
    for (std::size_t step = 1; step <= text.size(); ++step)
        BOOST_TEST(problem_of(text, step) == "", "step " << step);
}

BOOST_AUTO_TEST_CASE(says_what_is_wrong_and_where)
{
    using namespace std::string_view_literals;
    for (const std::size_t step : {1u, 2u, 3u, 100u}) {
        BOOST_TEST(problem_of("one\ntwo\nthr\xE9\x65\nfour"sv, step) == "line 3 is not UTF-8");
        BOOST_TEST(problem_of("one\ntwo \xC0\xAF"sv, step) == "line 2 is not UTF-8");
        BOOST_TEST(problem_of("one\ncut \xE2\x82"sv, step) == "line 2 is not UTF-8");
        BOOST_TEST(problem_of("abc\0def"sv, step) == "byte 3 is a NUL");
    }
}

BOOST_AUTO_TEST_SUITE_END()
