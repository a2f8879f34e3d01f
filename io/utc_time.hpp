// When something was written, as files say it.
#pragma once

#include <string>

namespace sluice {

/// Now, to the second: "2025-01-31T23:59:59Z".
std::string utc_now();

} // namespace sluice
