// The forward pass by products of bfloat16: as in float32 (attention.cpp), with longer blocks of
// keys.
#include "layers/kernels/cpu/attention_bf16.hpp"

#include "layers/kernels/cpu/attention_heads.hpp"
#include "layers/kernels/cpu/attention_rows.hpp"
#include "layers/kernels/cpu/parallel_calls.hpp"

#include <limits>

namespace sluice::kernels {

namespace {

constexpr std::int64_t key_block = 4 * query_block;
static_assert(query_block <= max_product_rows && key_block <= max_product_columns);

/// What one thread works on, on its stack.
struct ForwardBlocks {
    static constexpr std::int64_t stride = padded(key_block);
    alignas(64) float scores[query_block * stride];     ///< [query][key], not yet scaled
    alignas(64) BFloat16 weights[query_block * stride]; ///< [query][key]
    alignas(64) float sums[query_block * max_head_dim]; ///< [query][D] of weights times values
    float maximum[query_block];                         ///< of the scaled scores so far
    float weight_sum[query_block];                      ///< sum of exp(score - maximum) so far
};

/// One row: weights = exp(scores - maximum) with the maximum over everything seen so far. Returns
/// exp(old maximum - maximum).
float update_row(const CausalBlock& block, std::int64_t query, float scale, ForwardBlocks& blocks)
{
    const ScoreRow row{blocks.scores + query * blocks.stride, block.visible_keys(query),
                       block.num_keys, scale};
    BFloat16* weights = blocks.weights + query * blocks.stride;
    const float old_maximum = blocks.maximum[query];
    const RowSum sum = softmax_row(row, old_maximum, weights);
    const float rescale = exp(broadcast(old_maximum - sum.maximum))[0];
    blocks.maximum[query] = sum.maximum;
    blocks.weight_sum[query] = std::fma(rescale, blocks.weight_sum[query], sum.weights);
    return rescale;
}

dnnl_status_t attend(const HeadForward<BFloat16>& head, std::int64_t first_query,
                     ForwardBlocks& blocks)
{
    const std::int64_t num_queries = std::min(query_block, head.positions - first_query);
    const std::int64_t head_dim = head.head_dim;
    const float scale = scale_of(head_dim);
    BlockProducts products;
    std::fill_n(blocks.maximum, num_queries, -std::numeric_limits<float>::infinity());
    std::fill_n(blocks.weight_sum, num_queries, 0.0F);
    for (std::int64_t first_key = 0; first_key <= first_query; first_key += key_block) {
        const auto block = CausalBlock::of(first_query, num_queries, first_key, key_block);
        products.multiply(
            along_result(head.q.from(first_query)), along_result(head.k.from(first_key)),
            {num_queries, block.num_keys, head_dim}, OntoSums::no, blocks.scores, blocks.stride);
        for (std::int64_t query = 0; query < num_queries; ++query) {
            const float rescale = update_row(block, query, scale, blocks);
            if (first_key > 0)
                for (std::int64_t c = 0; c < head_dim; ++c)
                    blocks.sums[query * head_dim + c] *= rescale;
        }
        products.multiply({blocks.weights, blocks.stride, false},
                          along_depth(head.v.from(first_key)),
                          {num_queries, head_dim, block.num_keys},
                          first_key > 0 ? OntoSums::yes : OntoSums::no, blocks.sums, head_dim);
    }
    for (std::int64_t query = 0; query < num_queries; ++query) {
        const float weight_sum = blocks.weight_sum[query];
        BFloat16* out = head.out[first_query + query];
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(out + c, load(blocks.sums + query * head_dim + c, count) / weight_sum, count);
        });
        head.logsumexp[first_query + query] = blocks.maximum[query] + std::log(weight_sum);
    }
    return products.status();
}

} // namespace

void attend_in_bf16(const AttentionForward& op)
{
    const ForwardHeads<BFloat16> heads(op);
    const std::int64_t num_blocks = (heads.places.e.positions + query_block - 1) / query_block;
    const dnnl_status_t status =
        parallel_calls(heads.places.count() * num_blocks, [&](std::int64_t item) {
            ForwardBlocks blocks;
            return attend(heads[item / num_blocks],
                          block_in_turn(item % num_blocks, num_blocks) * query_block, blocks);
        });
    SLUICE_CHECK(status == dnnl_success, "oneDNN returned " << status << " in attention");
}

} // namespace sluice::kernels
