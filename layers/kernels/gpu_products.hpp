// What computes matmul.hpp on GPUs: cuBLASLt, a library that is loaded when it is first needed.
#pragma once

#include <string>

namespace sluice::kernels {

/// Why there are no products on GPUs in this build or on this machine; empty: there are. Loads the
/// library.
std::string why_no_gpu_products();

/// "cuBLASLt 13.0.2"; where why_no_gpu_products() has nothing to say.
std::string gpu_products_by();

} // namespace sluice::kernels
