#include "src/text/first_lines.hpp"

#include <algorithm>

namespace sluice {

std::string first_lines(const std::vector<std::string>& lines, std::size_t count)
{
    std::string text;
    for (std::size_t i = 0; i < std::min(count, lines.size()); ++i)
        text += "\n    " + lines[i];
    if (lines.size() > count)
        text += "\n    and " + std::to_string(lines.size() - count) + " more";
    return text;
}

} // namespace sluice
