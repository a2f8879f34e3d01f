// What computes matmul.hpp in float32 and bf16 on CPUs: oneDNN, in the widest instructions that the
// processor has, which decide the order of its sums.
#pragma once

#include "core/dtype.hpp"

#include <string>

namespace sluice::kernels {

/// "oneDNN 2.6.3 (AVX2)".
std::string cpu_products_by(DType operands);

} // namespace sluice::kernels
