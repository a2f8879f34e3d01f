// Counts, amounts of memory and stretches of time as people read them.
#pragma once

#include <cstddef>
#include <string>

namespace sluice {

/// "512", "5.1k", "2.3M".
std::string count_text(double count);
/// "7.93 GB", "512 MB", "80 B": 10^9 and 10^6 bytes, three digits.
std::string bytes_text(std::size_t bytes);
/// "1:05", "2:03:09", "3d 04:10".
std::string duration_text(double seconds);

} // namespace sluice
