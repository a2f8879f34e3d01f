#include "tests/emulated_gpu/product.hpp"

#include "core/bfloat16.hpp"
#include "layers/kernels/extents.hpp"
#include "layers/kernels/gpu_products.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <vector>

namespace sluice::testing {

namespace {

using kernels::Transpose;

float element(const TensorView& tensor, std::int64_t i)
{
    if (tensor.dtype == DType::f32)
        return tensor.as<float>()[i];
    return float_of(tensor.as<BFloat16>()[i]);
}

void set_element(const TensorView& tensor, std::int64_t i, float value)
{
    if (tensor.dtype == DType::f32)
        tensor.as<float>()[i] = value;
    else
        tensor.as<BFloat16>()[i] = bfloat16_of(value);
}

/// To ten bits of mantissa, ties to even.
float rounded_to_tf32(float value)
{
    auto bits = std::bit_cast<std::uint32_t>(value);
    if (std::isfinite(value))
        bits += 0xfffU + (bits >> 13 & 1U);
    return std::bit_cast<float>(bits & ~0x1fffU);
}

/// The operand as float [rows, columns], not transposed any more.
std::vector<float> plain(const TensorView& tensor, Transpose transpose, std::int64_t rows,
                         std::int64_t columns)
{
    std::vector<float> made(static_cast<std::size_t>(rows * columns));
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
            made[static_cast<std::size_t>(i * columns + j)] =
                element(tensor, transpose == Transpose::yes ? j * rows + i : i * columns + j);
    return made;
}

} // namespace

void multiply(const kernels::Matmul& op, bool tf32)
{
    const auto [m, n, k] = extents_of(op);
    std::vector<float> a = plain(op.a, op.transpose_a, m, k);
    std::vector<float> b = plain(op.b, op.transpose_b, k, n);
    if (tf32)
        for (std::vector<float>* operand : {&a, &b})
            std::ranges::transform(*operand, operand->begin(), rounded_to_tf32);
    const auto alpha = static_cast<float>(op.alpha.on_host()), beta = static_cast<float>(op.beta);
    std::vector<float> sums(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < m; ++i) {
        std::ranges::fill(sums, 0.0F);
        for (std::int64_t p = 0; p < k; ++p) {
            const float factor = a[static_cast<std::size_t>(i * k + p)];
            const float* row = b.data() + p * n;
            float* out = sums.data();
            for (std::int64_t j = 0; j < n; ++j)
                out[j] += factor * row[j];
        }
        for (std::int64_t j = 0; j < n; ++j) {
            const float rest =
                op.addend.empty() || beta == 0.0F ? 0.0F : beta * element(op.addend, i * n + j);
            set_element(op.out, i * n + j, alpha * sums[static_cast<std::size_t>(j)] + rest);
        }
    }
}

std::string kind_of(const kernels::Matmul& op, bool tf32)
{
    const auto [m, n, k] = extents_of(op);
    std::ostringstream kind;
    kind << name_of(op.a.dtype) << " to " << name_of(op.out.dtype) << (tf32 ? " in tf32" : "")
         << ", m " << m << ", n " << n << ", k " << k
         << (op.transpose_a == Transpose::yes ? ", a transposed" : "")
         << (op.transpose_b == Transpose::yes ? ", b transposed" : "")
         << (op.addend.empty() ? "" : ", with addend")
         << (op.alpha.memory.empty() ? "" : ", alpha in memory");
    return kind.str();
}

} // namespace sluice::testing

namespace sluice::kernels {

std::string why_no_gpu_products() { return {}; }
std::string gpu_products_by() { return "emulated"; }

} // namespace sluice::kernels
