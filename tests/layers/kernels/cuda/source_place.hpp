// Where in the source an address of this program's code is.
#pragma once

#include <cstdint>
#include <string>

extern "C" const char __executable_start; // the linker's

namespace sluice::testing {

/// How far an address lies in the program's file.
inline std::uint32_t code_offset(const void* return_address)
{
    return static_cast<std::uint32_t>(static_cast<const char*>(return_address) -
                                      &__executable_start);
}

/// The line before that offset and those it is inlined at, from the inside out, as addr2line tells
/// them; the bare offset where there is no addr2line or no line numbers.
std::string source_place(std::uint32_t code_offset);

} // namespace sluice::testing
