// Which machine this is.
#pragma once

#include <string>

namespace sluice {

/// As the network knows it; empty where it cannot be told. Clones may share one.
std::string host_name();

/// The same for all processes and containers on one machine until it is started anew, another one
/// elsewhere; empty where it cannot be told.
std::string boot_id();

} // namespace sluice
