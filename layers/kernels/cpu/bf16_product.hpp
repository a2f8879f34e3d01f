// Products of two blocks of bfloat16, added up in float32, on the thread that calls.
#pragma once

#include "core/bfloat16.hpp"

#include <cstdint>
#include <dnnl.h>

namespace sluice::kernels {

/// A factor whose rows, or columns, go along the result's.
struct Bf16Factor {
    const BFloat16* data;
    std::int64_t stride;
    bool k_major; ///< stored with K over the rows: the left factor transposed, the right as it is

    const BFloat16* at(std::int64_t along, std::int64_t k) const
    {
        return data + (k_major ? k * stride + along : along * stride + k);
    }
    Bf16Factor from(std::int64_t along) const { return {at(along, 0), stride, k_major}; }
};

/// Of the result, and how many terms each of its elements adds up.
struct ProductExtents {
    std::int64_t rows, columns, depth;
};

/// The largest result where the processor has no instructions for bfloat16.
inline constexpr std::int64_t max_product_rows = 256, max_product_columns = 512;

/// Whether products of small blocks, too, are faster in bfloat16: with AMX.
bool has_fast_bf16_products();

enum class OntoSums : bool { no, yes };

/// sums [rows][stride] = or += a b, by oneDNN: its bf16 product where the processor has
/// instructions for it (AVX512_BF16, AMX), its sgemm on factors widened to float32 elsewhere. The
/// caller sees to it that oneDNN keeps to one thread.
dnnl_status_t multiply_bf16_block(const Bf16Factor& a, const Bf16Factor& b,
                                  const ProductExtents& extents, OntoSums onto, float* sums,
                                  std::int64_t stride);

} // namespace sluice::kernels
