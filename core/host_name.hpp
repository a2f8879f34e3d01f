// The name of this machine, as the network knows it.
#pragma once

#include <string>

namespace sluice {

/// Empty where it cannot be told.
std::string host_name();

} // namespace sluice
