// Amounts of memory as people write them; bytes_text writes them back.
#pragma once

#include <cstddef>
#include <string>

namespace sluice {

/// "80GB", "512 MiB", "2.5G" (10^9), "1000000". Throws UserError (usage) at `where`.
std::size_t bytes_from(const std::string& text, const std::string& where);

} // namespace sluice
