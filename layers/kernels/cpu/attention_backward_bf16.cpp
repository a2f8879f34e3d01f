// The backward pass by products of bfloat16: one head at a time, block by block, with the
// probabilities recomputed from the log sum of exponentials (Dao et al. 2022, "FlashAttention",
// algorithm 4). One thread owns a head, so every gradient adds in a fixed order, and in float32:
// keys are outside, so that the sums of dk and dv stay in their block, and those of dq wait in what
// is written last.
#include "layers/kernels/cpu/attention_bf16.hpp"

#include "layers/kernels/cpu/attention_heads.hpp"
#include "layers/kernels/cpu/attention_rows.hpp"
#include "layers/kernels/cpu/parallel_calls.hpp"
#include "layers/kernels/cpu/waiting_sums.hpp"

namespace sluice::kernels {

namespace {

constexpr std::int64_t key_block = 2 * query_block;
static_assert(key_block <= max_product_rows && key_block <= max_product_columns);

/// What one thread works on, on its stack.
struct BackwardBlocks {
    static constexpr std::int64_t stride = padded(key_block);
    alignas(64) float scores[query_block * stride];   ///< [query][key], not yet scaled
    alignas(64) float dp[query_block * stride];       ///< [query][key] dout v
    alignas(64) BFloat16 p[query_block * stride];     ///< [query][key]
    alignas(64) BFloat16 ds[query_block * stride];    ///< [query][key], of the scaled scores
    alignas(64) float dq[query_block * max_head_dim]; ///< [query][D] sums over keys, not scaled
    alignas(64) float dk[key_block * max_head_dim];   ///< [key][D] sums over queries, not scaled
    alignas(64) float dv[key_block * max_head_dim];   ///< [key][D] sums over queries
};

void differentiate_scores(const HeadGradient<BFloat16>& head, const CausalBlock& block,
                          BackwardBlocks& blocks)
{
    const float scale = scale_of(head.head_dim);
    for (std::int64_t query = 0; query < block.num_queries; ++query) {
        const std::int64_t at = query * blocks.stride, position = block.first_query + query;
        const ScoreRow row{blocks.scores + at, block.visible_keys(query), block.num_keys, scale};
        const RowGradient gradient{blocks.dp + at, head.logsumexp[position],
                                   head.row_dot[position]};
        score_gradient_row(row, gradient, blocks.p + at, blocks.ds + at);
    }
}

/// What a block of queries and one of keys add to the gradients.
void differentiate_block(const HeadGradient<BFloat16>& head, const CausalBlock& block,
                         OntoSums onto_dq, BlockProducts& products, BackwardBlocks& blocks)
{
    const auto& [first_query, num_queries, first_key, num_keys] = block;
    const std::int64_t head_dim = head.head_dim, stride = blocks.stride;
    const HeadRows q = head.q.from(first_query), dout = head.dout.from(first_query);
    const HeadRows k = head.k.from(first_key), v = head.v.from(first_key);
    const ProductExtents of_scores{num_queries, num_keys, head_dim};
    products.multiply(along_result(q), along_result(k), of_scores, OntoSums::no, blocks.scores,
                      stride);
    products.multiply(along_result(dout), along_result(v), of_scores, OntoSums::no, blocks.dp,
                      stride);
    differentiate_scores(head, block, blocks);

    const ProductExtents of_keys{num_keys, head_dim, num_queries};
    products.multiply({blocks.p, stride, true}, along_depth(dout), of_keys, OntoSums::yes,
                      blocks.dv, head_dim);
    products.multiply({blocks.ds, stride, true}, along_depth(q), of_keys, OntoSums::yes, blocks.dk,
                      head_dim);
    products.multiply({blocks.ds, stride, false}, along_depth(k), {num_queries, head_dim, num_keys},
                      onto_dq, blocks.dq, head_dim);
}

dnnl_status_t differentiate(const HeadGradient<BFloat16>& head, BackwardBlocks& blocks)
{
    add_up_row_dots(head);
    BlockProducts products;
    const std::int64_t head_dim = head.head_dim;
    const float scale = scale_of(head_dim);
    for (std::int64_t first_key = 0; first_key < head.positions; first_key += key_block) {
        const std::int64_t num_keys = std::min(key_block, head.positions - first_key);
        std::fill_n(blocks.dk, num_keys * head_dim, 0.0F);
        std::fill_n(blocks.dv, num_keys * head_dim, 0.0F);
        for (std::int64_t first_query = first_key; first_query < head.positions;
             first_query += query_block) {
            const std::int64_t num_queries = std::min(query_block, head.positions - first_query);
            // The gradients of these queries' own keys are written once no more is added to dq:
            // behind the last query of the block of keys that they are in.
            const WaitingSums dq{head.dq.from(first_query), head.dk.from(first_query)};
            if (first_key > 0)
                dq.get(num_queries, head_dim, blocks.dq, head_dim);
            differentiate_block(head,
                                CausalBlock::of(first_query, num_queries, first_key, key_block),
                                first_key > 0 ? OntoSums::yes : OntoSums::no, products, blocks);
            if (first_query < first_key + key_block)
                write_rows(blocks.dq, head_dim, num_queries, head_dim, scale, dq.upper);
            else
                dq.put(blocks.dq, head_dim, num_queries, head_dim);
        }
        write_rows(blocks.dk, head_dim, num_keys, head_dim, scale, head.dk.from(first_key));
        write_rows(blocks.dv, head_dim, num_keys, head_dim, 1.0F, head.dv.from(first_key));
    }
    return products.status();
}

} // namespace

void differentiate_in_bf16(const AttentionBackward& op)
{
    const GradientHeads<BFloat16> heads(op);
    const dnnl_status_t status = parallel_calls(heads.places.count(), [&](std::int64_t head) {
        BackwardBlocks blocks;
        return differentiate(heads[head], blocks);
    });
    SLUICE_CHECK(status == dnnl_success, "oneDNN returned " << status << " in attention");
}

} // namespace sluice::kernels
