#include "src/config/config_value.hpp"

#include "core/error.hpp"
#include "io/utf8_text.hpp"
#include "src/config/checked_toml.hpp"
#include "src/config/nearest_name.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>

namespace sluice {

namespace {

std::string number_text(double number)
{
    if (!std::isfinite(number))
        return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
    std::string text(buffer.data(), end);
    if (text.find_first_of(".e") == std::string::npos)
        text += ".0";
    return text;
}

std::string quoted(const std::string& text)
{
    const toml::value<std::string> value{text};
    std::ostringstream out;
    // Basic strings on one line only: one look for all values, and one line per key.
    out << toml::toml_formatter{value, toml::toml_formatter::default_flags &
                                           ~(toml::format_flags::allow_literal_strings |
                                             toml::format_flags::allow_multi_line_strings)};
    return out.str();
}

struct TomlText {
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) const { return std::to_string(value); }
    std::string operator()(double value) const { return number_text(value); }
    std::string operator()(const std::string& value) const { return quoted(value); }
    std::string operator()(const std::vector<double>& values) const
    {
        std::string text = "[";
        for (const double value : values)
            text += (text.size() > 1 ? ", " : "") + number_text(value);
        return text + "]";
    }
    std::string operator()(const UnusableValue& value) const { return value.type; }
};

struct Described {
    std::string operator()(bool) const { return "the boolean "; }
    std::string operator()(std::int64_t) const { return "the integer "; }
    std::string operator()(double) const { return "the floating-point number "; }
    std::string operator()(const std::string&) const { return "the string "; }
    std::string operator()(const std::vector<double>&) const { return "the array "; }
    std::string operator()(const UnusableValue&) const { return ""; }
};

[[noreturn]] void wrong_type(const ConfigValue& value, const std::string& expected,
                             const std::string& remedy)
{
    throw usage_error("expected " + expected + ", found " + std::visit(Described{}, value.payload) +
                          toml_text(value.payload),
                      value.where, remedy);
}

/// The payload as a number, whatever type it has in the file; for suggestions.
bool reads_as_integer(const ConfigPayload& payload, std::int64_t& number)
{
    if (const auto* real = std::get_if<double>(&payload)) {
        if (*real != std::floor(*real) || std::fabs(*real) > 9e15)
            return false;
        number = static_cast<std::int64_t>(*real);
        return true;
    }
    if (const auto* text = std::get_if<std::string>(&payload)) {
        const auto [end, error] =
            std::from_chars(text->data(), text->data() + text->size(), number);
        return error == std::errc() && end == text->data() + text->size() && !text->empty();
    }
    return false;
}

/// Text that is a number, but none that a double holds. toml++ refuses it; of a --set it is left as
/// text.
bool is_beyond_double(const ConfigPayload& payload)
{
    const auto* text = std::get_if<std::string>(&payload);
    if (text == nullptr)
        return false;
    double number = 0.0;
    const char* const end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, number);
    return error == std::errc::result_out_of_range && rest == end;
}

/// ".003", as `bc` prints it, or "3.": numbers elsewhere, and not in TOML.
bool lacks_a_digit(const ConfigPayload& payload)
{
    const auto* text = std::get_if<std::string>(&payload);
    if (text == nullptr)
        return false;
    const std::size_t first = text->find_first_not_of('-'), point = text->find('.');
    if (point == std::string::npos ||
        (point != first && point + 1 != text->find_first_of("eE") && point + 1 != text->size()))
        return false;
    double number = 0.0;
    const char* const end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, number);
    return error == std::errc() && rest == end;
}

std::string range_text(const RealRange& range)
{
    const bool unbounded = range.high == std::numeric_limits<double>::max();
    const auto low = number_text(range.low);
    if (unbounded)
        return (range.low_open ? "greater than " : "at least ") + low;
    return (range.low_open ? "greater than " : "at least ") + low + " and " +
           (range.high_open ? "less than " : "at most ") + number_text(range.high);
}

bool inside(double number, const RealRange& range)
{
    return (range.low_open ? number > range.low : number >= range.low) &&
           (range.high_open ? number < range.high : number <= range.high);
}

} // namespace

std::string toml_text(const ConfigPayload& payload) { return std::visit(TomlText{}, payload); }

std::string listed(const std::vector<std::string>& names)
{
    std::string text;
    for (const std::string& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text;
}

std::int64_t integer_in(const ConfigValue& value, std::int64_t low, std::int64_t high)
{
    const auto* number = std::get_if<std::int64_t>(&value.payload);
    if (number == nullptr) {
        std::int64_t meant = 0;
        wrong_type(value, "an integer",
                   reads_as_integer(value.payload, meant) ? "write " + std::to_string(meant)
                                                          : "write a whole number");
    }
    if (*number < low)
        throw usage_error(std::to_string(*number) + " is too small", value.where,
                          "the smallest possible value is " + std::to_string(low));
    if (*number > high)
        throw usage_error(std::to_string(*number) + " is too large", value.where,
                          "the largest possible value is " + std::to_string(high));
    return *number;
}

double real_in(const ConfigValue& value, RealRange range)
{
    double number = 0.0;
    if (const auto* real = std::get_if<double>(&value.payload))
        number = *real;
    else if (const auto* integer = std::get_if<std::int64_t>(&value.payload))
        number = static_cast<double>(*integer);
    else if (is_beyond_double(value.payload))
        throw usage_error(std::get<std::string>(value.payload) + " is out of range", value.where,
                          "write a number that 64 bits hold, " + range_text(range));
    else
        wrong_type(value, "a number",
                   "write a number without quotes" +
                       std::string(lacks_a_digit(value.payload)
                                       ? " and with digits on both sides of its point"
                                       : "") +
                       ", " + range_text(range));
    if (!std::isfinite(number) || !inside(number, range))
        throw usage_error(toml_text(value.payload) + " is impossible", value.where,
                          "it must be " + range_text(range));
    return number;
}

bool boolean_of(const ConfigValue& value)
{
    if (const auto* truth = std::get_if<bool>(&value.payload))
        return *truth;
    wrong_type(value, "a boolean", "write true or false, without quotes");
}

const std::string& text_of(const ConfigValue& value)
{
    if (const auto* text = std::get_if<std::string>(&value.payload))
        return *text;
    wrong_type(value, "a string", "write it in double quotes");
}

const std::vector<double>& numbers_of(const ConfigValue& value)
{
    if (const auto* numbers = std::get_if<std::vector<double>>(&value.payload))
        return *numbers;
    wrong_type(value, "an array of numbers", "write numbers in brackets, like [0.9, 0.95]");
}

std::filesystem::path path_of(const ConfigValue& value)
{
    const std::string& text = text_of(value);
    if (text.empty())
        return {};
    auto path = (std::filesystem::absolute(value.base) / text).lexically_normal();
    if (!is_utf8(path.string()))
        throw usage_error("the path " + path.string() + " is not UTF-8, and run files are",
                          value.where,
                          "rename the folder or file (`convmv` does that for many), or lead a "
                          "symbolic link with a UTF-8 name to it");
    return path;
}

std::size_t choice_of(const ConfigValue& value, const std::vector<std::string>& names,
                      const std::vector<UnavailableChoice>& unavailable)
{
    const auto* text = std::get_if<std::string>(&value.payload);
    const std::string valid = "valid choices: " + listed(names);
    if (text == nullptr)
        wrong_type(value, "a string", valid);
    for (std::size_t i = 0; i < names.size(); ++i)
        if (names[i] == *text)
            return i;
    for (const UnavailableChoice& choice : unavailable)
        if (choice.name == *text)
            throw usage_error("\"" + *text + "\" " + std::string(choice.reason), value.where,
                              valid);
    const std::string nearest = nearest_name(*text, names);
    throw usage_error("\"" + *text + "\" is not a valid choice", value.where,
                      (nearest.empty() ? "" : "did you mean \"" + nearest + "\"? ") + valid);
}

} // namespace sluice
