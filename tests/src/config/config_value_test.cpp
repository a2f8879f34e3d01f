#include "src/config/config_value.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <limits>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(config_value)

BOOST_AUTO_TEST_CASE(writes_values_as_short_toml)
{
    BOOST_TEST(toml_text(true) == "true");
    BOOST_TEST(toml_text(std::int64_t{-7}) == "-7");
    BOOST_TEST(toml_text(0.1) == "0.1");
    BOOST_TEST(toml_text(1.0) == "1.0");
    BOOST_TEST(toml_text(1e-8) == "1e-08");
    BOOST_TEST(toml_text(2.0 / 3.0) == "0.6666666666666666");
    BOOST_TEST(toml_text(std::vector<double>{0.9, 0.95}) == "[0.9, 0.95]");
    BOOST_TEST(toml_text(std::string("plain")) == "\"plain\"");
    BOOST_TEST(toml_text(std::string("a\"b\\c\nd")) == R"("a\"b\\c\nd")");
}

BOOST_AUTO_TEST_CASE(range_bounds_are_inside_unless_open)
{
    const RealRange range{0.0, 1.0, false, true};
    BOOST_TEST(real_in({0.0, "here", {}}, range) == 0.0);
    BOOST_TEST(real_in({std::int64_t{0}, "here", {}}, range) == 0.0);
    BOOST_CHECK_THROW(real_in({1.0, "here", {}}, range), UserError);
    BOOST_CHECK_THROW(real_in({std::numeric_limits<double>::quiet_NaN(), "here", {}}, range),
                      UserError);
    BOOST_TEST(integer_in({std::int64_t{3}, "here", {}}, 3, 3) == 3);
    BOOST_CHECK_THROW(integer_in({std::int64_t{4}, "here", {}}, 3, 3), UserError);
    BOOST_CHECK_THROW(integer_in({std::int64_t{2}, "here", {}}, 3, 3), UserError);
}

BOOST_AUTO_TEST_CASE(numbers_beyond_64_bits_are_not_taken_for_words)
{
    const auto message = [](const std::string& text) -> std::string {
        try {
            real_in({text, "here", {}}, {0.0, 1.0});
        } catch (const UserError& error) {
            return error.what();
        }
        return "nothing thrown";
    };
    BOOST_TEST(message("1e400").find("1e400 is out of range") != std::string::npos);
    BOOST_TEST(message("1e400x").find("found the string") != std::string::npos);
    BOOST_TEST(message("0.5").find("without quotes") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
