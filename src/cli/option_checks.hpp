// What options of the command line may be, with messages made for people.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <string>

namespace sluice {

/// A whole number that is not below `low`.
inline CLI::Validator at_least(std::int64_t low)
{
    return {[low](std::string& text) -> std::string {
                std::int64_t number = 0;
                const char* const end = text.data() + text.size();
                const auto [rest, error] = std::from_chars(text.data(), end, number);
                if (error == std::errc::result_out_of_range)
                    return "'" + text + "' is more than 63 bits hold";
                if (error != std::errc() || rest != end)
                    return "'" + text + "' is not a whole number";
                return number < low ? text + " is too small: " + std::to_string(low) +
                                          " is the smallest possible number"
                                    : "";
            },
            ">= " + std::to_string(low)};
}

/// For numbers without a sign, of which CLI11 would take "-1" for the largest.
inline CLI::Validator not_negative()
{
    return {[](std::string& text) -> std::string {
                return text.starts_with("-") ? "'" + text + "' is less than nothing" : "";
            },
            ""};
}

/// Something: not the empty text that a shell makes of a variable that is not set.
inline CLI::Validator not_empty()
{
    return {[](std::string& text) -> std::string {
                return text.empty() ? "it is empty (a variable that is not set?)" : "";
            },
            ""};
}

} // namespace sluice
