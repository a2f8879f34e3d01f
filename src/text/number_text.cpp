#include "src/text/number_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fmt/format.h>

namespace sluice {

std::string count_text(double count)
{
    for (const char* suffix : {"", "k", "M", "G", "T"}) {
        if (count < 1000.0 || *suffix == 'T')
            return fmt::format("{:.{}f}{}", count, *suffix && count < 100.0 ? 1 : 0, suffix);
        count /= 1000.0;
    }
    return {};
}

std::string bytes_text(std::size_t bytes)
{
    if (bytes < 1000)
        return fmt::format("{} B", bytes);
    const auto size = static_cast<double>(bytes);
    const auto [unit, name] = size >= 0.9995e12  ? std::pair(1e12, "TB")
                              : size >= 0.9995e9 ? std::pair(1e9, "GB")
                              : size >= 0.9995e6 ? std::pair(1e6, "MB")
                                                 : std::pair(1e3, "kB");
    const double value = size / unit;
    return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, name);
}

std::string duration_text(double seconds)
{
    const auto total = static_cast<std::int64_t>(std::ceil(std::max(0.0, seconds)));
    const std::int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60;
    if (days > 0)
        return fmt::format("{}d {:02}:{:02}", days, hours, minutes);
    if (hours > 0)
        return fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60);
    return fmt::format("{}:{:02}", minutes, total % 60);
}

} // namespace sluice
