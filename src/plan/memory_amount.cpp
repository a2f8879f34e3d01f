#include "src/plan/memory_amount.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sluice {

std::size_t bytes_from(const std::string& text, const std::string& where)
{
    double number = 0.0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    std::string unit(rest, text.data() + text.size());
    std::erase(unit, ' ');
    std::transform(unit.begin(), unit.end(), unit.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    double factor = 0.0;
    const std::string prefixes = "kmgt";
    if (unit.empty() || unit == "b")
        factor = 1.0;
    else if (const std::size_t power = prefixes.find(unit[0]); power != std::string::npos) {
        const std::string suffix = unit.substr(1);
        const double thousands = static_cast<double>(power + 1);
        if (suffix.empty() || suffix == "b")
            factor = std::pow(1000.0, thousands);
        else if (suffix == "i" || suffix == "ib")
            factor = std::pow(1024.0, thousands);
    }
    if (error != std::errc() || factor == 0.0 ||
        !(number * factor >= 1.0 && number * factor <= 1e18))
        throw usage_error("'" + text + "' is not an amount of memory", where,
                          "write a number with its unit, like 80GB or 512MiB");
    return static_cast<std::size_t>(number * factor);
}

} // namespace sluice
