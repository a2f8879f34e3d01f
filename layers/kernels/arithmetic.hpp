// What rounds the numbers of a run, besides its run file.
#pragma once

#include "core/device.hpp"
#include "core/dtype.hpp"

#include <string>

namespace sluice::kernels {

/// The libraries whose products and functions are used for activations of type `compute`, and what
/// they choose their algorithms by: "oneDNN 2.6.3 (AVX-512 with AMX), glibc 2.36", or
/// "NVIDIA H100 80GB HBM3 (9.0, 132 multiprocessors), cuBLASLt 13.1.0". Processes of one build
/// for which it is the same text compute the same bits; where it differs they may not.
std::string arithmetic_in_words(const Device& device, DType compute);

} // namespace sluice::kernels
