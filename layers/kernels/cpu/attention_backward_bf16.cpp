// The backward pass by products of bfloat16: one head at a time, block by block, with the
// probabilities recomputed from the log sum of exponentials (Dao et al. 2022, "FlashAttention",
// algorithm 4). One thread owns a head, so every gradient adds in a fixed order, and in float32:
// keys are outside, so that the sums of dk and dv stay in their block, and those of dq wait in what
// is written last.
#include "layers/kernels/cpu/attention_bf16.hpp"

#include "layers/kernels/cpu/parallel_calls.hpp"
#include "layers/kernels/cpu/waiting_sums.hpp"
#include "layers/kernels/extents.hpp"

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

struct HeadGradient {
    HeadRows<const BFloat16> q, k, v, dout, out;
    HeadRows<BFloat16> dq, dk, dv;
    const float* logsumexp; ///< [T]
    float* row_dot;         ///< [T]
    std::int64_t positions, head_dim;
};

/// row_dot: dout · out, row by row.
void add_up_row_dots(const HeadGradient& head)
{
    for (std::int64_t query = 0; query < head.positions; ++query) {
        Lanes products{};
        for_each_chunk(head.head_dim, [&](std::int64_t c, auto count) {
            products += load(head.dout[query] + c, count) * load(head.out[query] + c, count);
        });
        head.row_dot[query] = sum(products);
    }
}

void differentiate_scores(const HeadGradient& head, const CausalBlock& block,
                          BackwardBlocks& blocks)
{
    const float scale = scale_of(head.head_dim);
    for (std::int64_t query = 0; query < block.num_queries; ++query) {
        const std::int64_t at = query * blocks.stride, position = block.first_query + query;
        const ScoreRow row{blocks.scores + at, block.visible_keys(query), block.num_keys, scale};
        const RowGradient gradient{blocks.dp + at, head.logsumexp[position],
                                   head.row_dot[position]};
        has_wide_lanes()
            ? score_gradient_row_in_wide_lanes(row, gradient, blocks.p + at, blocks.ds + at)
            : score_gradient_row(row, gradient, blocks.p + at, blocks.ds + at);
    }
}

/// What a block of queries and one of keys add to the gradients.
void differentiate_block(const HeadGradient& head, const CausalBlock& block, OntoSums onto_dq,
                         BlockProducts& products, BackwardBlocks& blocks)
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

void write_rows(const float* sums, std::int64_t num_rows, std::int64_t head_dim, float factor,
                HeadRows<BFloat16> to)
{
    for (std::int64_t row = 0; row < num_rows; ++row)
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(to[row] + c, factor * load(sums + row * head_dim + c, count), count);
        });
}

dnnl_status_t differentiate(const HeadGradient& head, BackwardBlocks& blocks)
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
                write_rows(blocks.dq, num_queries, head_dim, scale, dq.upper);
            else
                dq.put(blocks.dq, head_dim, num_queries, head_dim);
        }
        write_rows(blocks.dk, num_keys, head_dim, scale, head.dk.from(first_key));
        write_rows(blocks.dv, num_keys, head_dim, 1.0F, head.dv.from(first_key));
    }
    return products.status();
}

} // namespace

void differentiate_in_bf16(const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    SLUICE_CHECK(e.head_dim <= max_head_dim, "head_dim " << e.head_dim);
    const auto* qkv = op.qkv.as<BFloat16>();
    const auto* dout = op.dout.as<BFloat16>();
    const auto* out = op.out.as<BFloat16>();
    auto* qkv_gradient = op.qkv_gradient.as<BFloat16>();
    const auto* logsumexp = op.logsumexp.as<float>();
    auto* row_dot = op.row_dot.as<float>();
    const std::int64_t channels = e.heads * e.head_dim;

    const auto differentiate_head = [=](std::int64_t item) {
        const std::int64_t b = item / e.heads, h = item % e.heads;
        const std::int64_t in_heads = b * e.positions * channels + h * e.head_dim;
        const std::int64_t in_qkv = b * e.positions * 3 * channels + h * e.head_dim;
        BackwardBlocks blocks;
        return differentiate({.q = {qkv + in_qkv, 3 * channels},
                              .k = {qkv + in_qkv + channels, 3 * channels},
                              .v = {qkv + in_qkv + 2 * channels, 3 * channels},
                              .dout = {dout + in_heads, channels},
                              .out = {out + in_heads, channels},
                              .dq = {qkv_gradient + in_qkv, 3 * channels},
                              .dk = {qkv_gradient + in_qkv + channels, 3 * channels},
                              .dv = {qkv_gradient + in_qkv + 2 * channels, 3 * channels},
                              .logsumexp = logsumexp + item * e.positions,
                              .row_dot = row_dot + item * e.positions,
                              .positions = e.positions,
                              .head_dim = e.head_dim},
                             blocks);
    };
    const dnnl_status_t status = parallel_calls(e.sequences * e.heads, differentiate_head);
    SLUICE_CHECK(status == dnnl_success, "oneDNN returned " << status << " in attention");
}

} // namespace sluice::kernels
