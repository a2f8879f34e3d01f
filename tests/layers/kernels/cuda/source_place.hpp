// Where in the source an address of this program's code is.
#pragma once

#include <string>

namespace sluice::testing {

/// The line before `return_address` and those it is inlined at, from the inside out, as addr2line
/// tells them; the bare address where there is no addr2line or no line numbers.
std::string source_place(const void* return_address);

} // namespace sluice::testing
