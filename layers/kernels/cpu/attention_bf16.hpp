// Attention in bfloat16 where the processor has AMX (attention_bf16.cpp,
// attention_backward_bf16.cpp): products of blocks by oneDNN, straight from where the heads lie.
// Without AMX they are slower than strips of float32 (attention_tiles.hpp), by half with
// AVX512_BF16 alone.
//
// Scores are float32, [query][key]; weights, and gradients of scores, are rounded to bfloat16
// before they are multiplied. Weights of keys that a query does not see are 0, and are multiplied:
// a value that is not finite reaches all queries of its block.
#pragma once

#include "layers/kernels/attention.hpp"
#include "layers/kernels/cpu/bf16_product.hpp"
#include "layers/kernels/cpu/head_rows.hpp"

#include <algorithm>

namespace sluice::kernels {

void attend_in_bf16(const AttentionForward& op);
void differentiate_in_bf16(const AttentionBackward& op);

/// Queries of a block. Blocks of keys are a multiple of it, so that a block of queries begins at or
/// behind the first key of every block that it sees.
inline constexpr std::int64_t query_block = 128;

/// Queries against a block of keys of which the last query sees `num_keys`, the others fewer.
struct CausalBlock {
    std::int64_t first_query, num_queries, first_key, num_keys;

    static CausalBlock of(std::int64_t first_query, std::int64_t num_queries,
                          std::int64_t first_key, std::int64_t key_block)
    {
        return {first_query, num_queries, first_key,
                std::min(key_block, first_query + num_queries - first_key)};
    }
    /// How many of the block's keys a query sees, counted from the block's first: at least 1.
    std::int64_t visible_keys(std::int64_t query) const
    {
        return std::min(num_keys, first_query + query - first_key + 1);
    }
};

/// Of rows [query][key] and [query][channel]; no power of two: such strides collide in the first
/// cache.
constexpr std::int64_t padded(std::int64_t columns) { return columns + 16; }

/// One head's products of blocks, and whether the library could make all of them.
class BlockProducts {
public:
    /// sums [rows][stride] = or += a b.
    void multiply(const Bf16Factor& a, const Bf16Factor& b, const ProductExtents& extents,
                  OntoSums onto, float* sums, std::int64_t stride)
    {
        const dnnl_status_t status = multiply_bf16_block(a, b, extents, onto, sums, stride);
        if (status != dnnl_success)
            status_ = status;
    }
    dnnl_status_t status() const { return status_; }

private:
    dnnl_status_t status_ = dnnl_success;
};

/// Rows that lie along the result's, or along K.
inline Bf16Factor along_result(HeadRows<const BFloat16> rows)
{
    return {rows.first, rows.stride, false};
}
inline Bf16Factor along_depth(HeadRows<const BFloat16> rows)
{
    return {rows.first, rows.stride, true};
}

} // namespace sluice::kernels
