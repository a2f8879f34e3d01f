// Amounts of memory as people write and read them.
#pragma once

#include <cstddef>
#include <string>

namespace sluice {

/// "80GB", "512 MiB", "2.5G" (10^9), "1000000". Throws UserError (usage) at `where`.
std::size_t bytes_from(const std::string& text, const std::string& where);
/// "7.93 GB", "512 MB": 10^9 and 10^6 bytes, three digits.
std::string bytes_text(std::size_t bytes);

} // namespace sluice
