// The first of many lines, for messages that must not fill the screen.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sluice {

/// At most `count` lines, each on a new line and indented, and how many more there are.
std::string first_lines(const std::vector<std::string>& lines, std::size_t count);

} // namespace sluice
