// Which program this is.
#pragma once

#include <string>

namespace sluice {

/// "sluice 0.1.0 (4abcc097d0e1)": with the commit it was built from, and "changed" where its
/// sources were; "sluice 0.1.0" where they were in no repository.
std::string program_version();

} // namespace sluice
