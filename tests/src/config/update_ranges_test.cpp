#include "src/config/update_ranges.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <limits>

using namespace sluice;

using Ranges = std::vector<UpdateRange>;

BOOST_AUTO_TEST_SUITE(update_ranges)

BOOST_AUTO_TEST_CASE(single_updates_and_ranges)
{
    BOOST_CHECK(parse_update_ranges("", "key").empty());
    BOOST_CHECK(parse_update_ranges("5", "key") == (Ranges{{5, 5}}));
    BOOST_CHECK(parse_update_ranges("100-102", "key") == (Ranges{{100, 102}}));
    BOOST_CHECK(parse_update_ranges(" 100-102, 200 ", "key") == (Ranges{{100, 102}, {200, 200}}));
}

BOOST_AUTO_TEST_CASE(what_overlaps_or_touches_is_one_range_in_order)
{
    BOOST_CHECK(parse_update_ranges("9,3-5,6,4-7", "key") == (Ranges{{3, 7}, {9, 9}}));
}

BOOST_AUTO_TEST_CASE(errors_name_the_place_and_the_nearest_form)
{
    const std::pair<const char*, const char*> wrong[] = {
        {"102-100", "did you mean \"100-102\"?"},
        {"100..102", "did you mean \"100-102\"?"},
        {"0", "did you mean \"1\"?"},
        {"0-3", "did you mean \"1-3\"?"},
        {"7-7", "did you mean \"7\"?"},
        {"update 5", "did you mean \"5\"?"},
        {"-5", "did you mean \"5\"?"},
        {"1-2-3", "write them like"},
        {"all", "write them like"},
        {"5,,6", "write them like"},
        {"5,", "did you mean \"5\"?"},
        {"99999999999999999999", "write them like"}};
    for (const auto& [text, remedy] : wrong)
        BOOST_TEST_CONTEXT(text)
        {
            try {
                parse_update_ranges(text, "run.toml:3: trace.updates");
                BOOST_ERROR("accepted");
            } catch (const UserError& error) {
                BOOST_TEST((error.code() == ExitCode::usage));
                BOOST_TEST(error.where() == "run.toml:3: trace.updates");
                check_mentions(error.remedy(), {remedy});
            }
        }
}

BOOST_AUTO_TEST_CASE(the_last_update_there_can_be)
{
    const auto ranges = parse_update_ranges("1-9223372036854775807,5", "trace.updates");
    BOOST_TEST(ranges.size() == 1u);
    BOOST_TEST(ranges.front().num_updates() == std::numeric_limits<std::int64_t>::max());
}

BOOST_AUTO_TEST_SUITE_END()
