// Matrix products as on GPUs: operands f32 or bf16, sums in f32 in the order of the inner index,
// out f32 or bf16.
#pragma once

#include "layers/kernels/matmul.hpp"

#include <string>

namespace sluice::testing {

/// Shapes and types fit. `tf32`: f32 operands are rounded to it first.
void multiply(const kernels::Matmul& op, bool tf32 = false);

/// What a library's choice of a kernel depends on, but for alignment.
std::string kind_of(const kernels::Matmul& op, bool tf32);

} // namespace sluice::testing
