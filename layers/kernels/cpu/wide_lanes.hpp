// Sixteen floats at a time, where a processor has AVX-512. What is written with it (*_avx512.cpp)
// is compiled for it alone and taken where has_wide_lanes() says so, when the program runs. Where
// something stands beside it in eight lanes (lanes.hpp), the bits are the same.
#pragma once

namespace sluice::kernels {

inline constexpr int num_wide_lanes = 16;

/// Whether the processor has AVX-512 and oneDNN may use it (ONEDNN_MAX_CPU_ISA).
bool has_wide_lanes();

} // namespace sluice::kernels
