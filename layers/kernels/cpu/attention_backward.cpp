// The backward pass: one head at a time, block pair by block pair, with the probabilities
// recomputed from the log sum of exponentials (Dao et al. 2022, "FlashAttention", algorithm 4).
// One thread owns a head, so every gradient adds in a fixed order.
#include "core/parallel.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/cpu/attention_tiles.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

/// What one thread works on, on its stack.
struct BackwardBlocks {
    alignas(64) HeadBlock queries, queries_by_channel; ///< scaled by 1/sqrt(D); and transposed
    alignas(64) HeadBlock dout, dout_by_channel;       ///< and transposed
    alignas(64) HeadBlock dq;                          ///< [query][P] sum over the keys
    alignas(64) HeadBlock keys, values;
    alignas(64) HeadBlock sums;   ///< [key][P] one pair's part of dv, then of dk
    alignas(64) ScoreBlock p, ds; ///< [key][query]
    alignas(64) float logsumexp[block_rows];
    alignas(64) float row_dot[block_rows];
};

struct HeadGradient {
    HeadRows<const float> q, k, v, dout, out;
    HeadRows<float> dq, dk, dv;
    const float* logsumexp; ///< [T]
    float* row_dot;         ///< [T]
};

/// p = exp(scores - logsumexp), ds = p (dp - row_dot); in: p the scores, ds the products dout v.
void score_gradient(const BlockPair& pair, BackwardBlocks& blocks)
{
    for (std::int64_t query = 0; query < pair.num_panels() * panel_width; query += num_lanes) {
        const Lanes logsumexp = load(blocks.logsumexp + query);
        const Lanes row_dot = load(blocks.row_dot + query);
        for_visible_keys(pair, query, [&](std::int64_t key, auto visible) {
            float* p_at = blocks.p + key * block_rows + query;
            float* ds_at = blocks.ds + key * block_rows + query;
            const Lanes p = visible_or(exp(load(p_at) - logsumexp), 0.0F, visible);
            const Lanes ds = visible_or(p * (load(ds_at) - row_dot), 0.0F, visible);
            store(p_at, p);
            store(ds_at, ds);
        });
        clear_unseen(pair, query, blocks.p);
        clear_unseen(pair, query, blocks.ds);
    }
}

/// to = sums where a row is met for the first time (its own diagonal block), += sums later.
void add_rows(const BlockPair& pair, const float* sums, std::int64_t head_dim, HeadRows<float> to)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t row = 0; row < pair.num_keys; ++row)
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            const Lanes lanes = load(sums + row * stride + c);
            store(to[row] + c, pair.diagonal ? lanes : lanes + load(to[row] + c, count), count);
        });
}

/// Loads one block of queries and what belongs to it, and writes its row_dot.
void load_queries(const HeadGradient& head, std::int64_t first, std::int64_t num_queries,
                  std::int64_t head_dim, float scale, BackwardBlocks& blocks)
{
    copy_block({head.q[first], head.q.stride}, num_queries, head_dim, scale, blocks.queries);
    transpose_block(blocks.queries, num_queries, head_dim, blocks.queries_by_channel);
    copy_block({head.dout[first], head.dout.stride}, num_queries, head_dim, 1.0F, blocks.dout);
    transpose_block(blocks.dout, num_queries, head_dim, blocks.dout_by_channel);
    std::fill_n(blocks.logsumexp, block_rows, 0.0F);
    std::fill_n(blocks.row_dot, block_rows, 0.0F);
    for (std::int64_t query = 0; query < num_queries; ++query) {
        Lanes products{};
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            products += load(head.dout[first + query] + c, count) *
                        load(head.out[first + query] + c, count);
        });
        head.row_dot[first + query] = blocks.row_dot[query] = sum(products);
        blocks.logsumexp[query] = head.logsumexp[first + query];
    }
    std::fill_n(blocks.dq, round_up(num_queries, strip_height) * round_up(head_dim, panel_width),
                0.0F);
}

void differentiate(const HeadGradient& head, std::int64_t positions, std::int64_t head_dim,
                   BackwardBlocks& blocks)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    for (std::int64_t first_query = 0; first_query < positions; first_query += block_rows) {
        const std::int64_t num_queries = std::min(block_rows, positions - first_query);
        load_queries(head, first_query, num_queries, head_dim, scale, blocks);
        for (std::int64_t first_key = 0; first_key <= first_query; first_key += block_rows) {
            const bool diagonal = first_key == first_query;
            const BlockPair pair{num_queries, diagonal ? num_queries : block_rows, diagonal};
            copy_block({head.k[first_key], head.k.stride}, pair.num_keys, head_dim, 1.0F,
                       blocks.keys);
            copy_block({head.v[first_key], head.v.stride}, pair.num_keys, head_dim, 1.0F,
                       blocks.values);
            if (!diagonal) {
                const std::int64_t next = first_key + block_rows;
                const std::int64_t num_next = std::min(block_rows, positions - next);
                prefetch_rows<const float>({head.k[next], head.k.stride}, num_next, head_dim);
                prefetch_rows<const float>({head.v[next], head.v.stride}, num_next, head_dim);
            }
            prefetch_rows<float>({head.dv[first_key], head.dv.stride}, pair.num_keys, head_dim);
            prefetch_rows<float>({head.dk[first_key], head.dk.stride}, pair.num_keys, head_dim);
            score_product(pair, blocks.keys, blocks.queries_by_channel, head_dim, blocks.p);
            score_product(pair, blocks.values, blocks.dout_by_channel, head_dim, blocks.ds);
            score_gradient(pair, blocks);
            sum_over_queries(pair, blocks.p, blocks.dout, head_dim, blocks.sums);
            add_rows(pair, blocks.sums, head_dim, {head.dv[first_key], head.dv.stride});
            sum_over_queries(pair, blocks.ds, blocks.queries, head_dim, blocks.sums);
            add_rows(pair, blocks.sums, head_dim, {head.dk[first_key], head.dk.stride});
            add_over_keys(pair, blocks.ds, blocks.keys, head_dim, blocks.dq);
        }
        for (std::int64_t query = 0; query < num_queries; ++query) {
            float* dq = head.dq[first_query + query];
            for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
                store(dq + c, scale * load(blocks.dq + query * stride + c), count);
            });
        }
    }
}

} // namespace

void run(Cpu, const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    SLUICE_CHECK(e.head_dim <= max_head_dim, "head_dim " << e.head_dim);
    const float* qkv = op.qkv.as<float>();
    const float* dout = op.dout.as<float>();
    const float* out = op.out.as<float>();
    float* qkv_gradient = op.qkv_gradient.as<float>();
    const float* logsumexp = op.logsumexp.as<float>();
    float* row_dot = op.row_dot.as<float>();
    const std::int64_t channels = e.heads * e.head_dim;

    parallel_for(e.sequences * e.heads, [=](std::int64_t item) {
        const std::int64_t b = item / e.heads, h = item % e.heads;
        const std::int64_t in_heads = b * e.positions * channels + h * e.head_dim;
        const std::int64_t in_qkv = b * e.positions * 3 * channels + h * e.head_dim;
        BackwardBlocks blocks;
        differentiate({.q = {qkv + in_qkv, 3 * channels},
                       .k = {qkv + in_qkv + channels, 3 * channels},
                       .v = {qkv + in_qkv + 2 * channels, 3 * channels},
                       .dout = {dout + in_heads, channels},
                       .out = {out + in_heads, channels},
                       .dq = {qkv_gradient + in_qkv, 3 * channels},
                       .dk = {qkv_gradient + in_qkv + channels, 3 * channels},
                       .dv = {qkv_gradient + in_qkv + 2 * channels, 3 * channels},
                       .logsumexp = logsumexp + item * e.positions,
                       .row_dot = row_dot + item * e.positions},
                      e.positions, e.head_dim, blocks);
    });
}

} // namespace sluice::kernels
