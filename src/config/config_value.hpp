// One value of a run file, with the place it stands at, and its checked conversions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice {

/// A value no key takes (a table, a date, an array of anything but numbers): only its type's name
/// is kept, for the message.
struct UnusableValue {
    std::string type;
    bool operator==(const UnusableValue&) const = default;
};

using ConfigPayload =
    std::variant<bool, std::int64_t, double, std::string, std::vector<double>, UnusableValue>;

/// As TOML: strings in double quotes, floating-point numbers in the shortest form that reads back
/// as the same bits.
std::string toml_text(const ConfigPayload& payload);

struct ConfigValue {
    ConfigPayload payload;
    std::string where;          ///< "run.toml:12: model.num_heads" or "--set model.num_heads=7"
    std::filesystem::path base; ///< absolute folder that relative paths are relative to
    bool from_override = false;
};

/// Bounds of a floating-point value; `low_open`, `high_open`: the bound itself is outside.
struct RealRange {
    double low, high;
    bool low_open = false, high_open = false;
};

// Each throws UserError (usage) that says what was expected, what is there, and what to write.

std::int64_t integer_in(const ConfigValue& value, std::int64_t low, std::int64_t high);
/// An integer is taken as a number, too. Never infinite or NaN.
double real_in(const ConfigValue& value, RealRange range);
bool boolean_of(const ConfigValue& value);
const std::string& text_of(const ConfigValue& value);
const std::vector<double>& numbers_of(const ConfigValue& value);
/// Absolute and normal; empty for an empty string.
std::filesystem::path path_of(const ConfigValue& value);

/// A valid name that this build cannot do, and why.
struct UnavailableChoice {
    std::string_view name, reason;
};
/// Index into `names`. The message lists all of them and names the nearest.
std::size_t choice_of(const ConfigValue& value, const std::vector<std::string>& names,
                      const std::vector<UnavailableChoice>& unavailable = {});

/// "a, b, c".
std::string listed(const std::vector<std::string>& names);

} // namespace sluice
