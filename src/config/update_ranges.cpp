#include "src/config/update_ranges.hpp"

#include "core/error.hpp"
#include "src/text/trimmed.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace sluice {

namespace {

std::string text_of(const UpdateRange& range)
{
    return std::to_string(range.first) +
           (range.last == range.first ? "" : "-" + std::to_string(range.last));
}

/// Reads what anybody could mean by an update or a range of them: the numbers in it.
std::optional<UpdateRange> range_in(std::string_view part)
{
    std::vector<std::int64_t> numbers;
    for (std::size_t at = 0; at < part.size();) {
        if (part[at] < '0' || part[at] > '9') {
            ++at;
            continue;
        }
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(&part[at], part.data() + part.size(), number);
        if (error != std::errc())
            return std::nullopt;
        numbers.push_back(number);
        at = static_cast<std::size_t>(end - part.data());
    }
    if (numbers.empty() || numbers.size() > 2)
        return std::nullopt;
    for (std::int64_t& number : numbers)
        number = std::max<std::int64_t>(1, number);
    return UpdateRange{std::min(numbers.front(), numbers.back()),
                       std::max(numbers.front(), numbers.back())};
}

} // namespace

std::vector<UpdateRange> parse_update_ranges(const std::string& text, const std::string& where)
{
    std::vector<UpdateRange> ranges;
    std::string_view rest = trimmed(text, " ");
    while (!rest.empty()) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        const std::string_view part = trimmed(rest.substr(0, comma), " ");
        const auto range = range_in(part);
        // Understood is only what this program would write itself.
        if (!range || (text_of(*range) != part))
            throw usage_error(
                "\"" + std::string(part) + "\" is not an update or a range of updates", where,
                (range ? "did you mean \"" + text_of(*range) + "\"? " : std::string()) +
                    "updates count from 1; write them like \"5\", \"100-102\" or \"100-102,200\", "
                    "or \"\" for none");
        ranges.push_back(*range);
        if (comma + 1 == rest.size())
            throw usage_error("nothing follows the last comma of \"" + text + "\"", where,
                              "did you mean \"" + std::string(rest.substr(0, comma)) + "\"?");
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    std::sort(ranges.begin(), ranges.end(),
              [](const UpdateRange& a, const UpdateRange& b) { return a.first < b.first; });
    std::vector<UpdateRange> joined;
    for (const UpdateRange& range : ranges)
        if (!joined.empty() && range.first - 1 <= joined.back().last) // + 1 may overflow
            joined.back().last = std::max(joined.back().last, range.last);
        else
            joined.push_back(range);
    return joined;
}

} // namespace sluice
