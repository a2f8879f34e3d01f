// What this process takes beyond the tensors that the plan counts.
#pragma once

#include <cstddef>

namespace sluice {

/// Program, libraries, MPI's buffers and the matmul library's packing buffers, measured on x86-64
/// Debian 12 with Open MPI 4.1.4 and oneDNN 2.6; see docs/benchmarks.
inline constexpr std::size_t program_bytes = 64u << 20;

/// Largest resident set so far (getrusage).
std::size_t peak_resident_bytes();

} // namespace sluice
