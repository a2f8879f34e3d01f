// The backward pass in float32 (in bfloat16: attention_backward_bf16.cpp): one head at a time,
// block pair by block pair, with the probabilities recomputed from the log sum of exponentials (Dao
// et al. 2022, "FlashAttention", algorithm 4). One thread owns a head, so every gradient adds in a
// fixed order.
#include "core/parallel.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/cpu/attention_bf16.hpp"
#include "layers/kernels/cpu/attention_tiles.hpp"
#include "layers/kernels/extents.hpp"
#include "layers/kernels/rotary.hpp"

namespace sluice::kernels {

namespace {

/// What one thread works on, on its stack.
struct BackwardBlocks {
    alignas(64) HeadBlock queries, queries_by_channel; ///< scaled by 1/sqrt(D); and transposed
    alignas(64) HeadBlock dout, dout_by_channel;       ///< and transposed
    alignas(64) HeadBlock dq;                          ///< [query][P] sum over the keys
    alignas(64) HeadBlock keys, values;
    alignas(64) HeadBlock dk, dv; ///< [key][P] sums over the queries of one pair
    alignas(64) ScoreBlock p, ds; ///< [key][query]
    alignas(64) float logsumexp[block_rows];
    alignas(64) float row_dot[block_rows];
};

struct HeadGradient {
    HeadRows<const float> q, k, v, dout, out;
    HeadRows<float> dq, dk, dv;
    const float* logsumexp; ///< [T]
    float* row_dot;         ///< [T]
    std::int64_t positions, head_dim;

    float scale() const
    {
        return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    }
    std::int64_t rows_from(std::int64_t first) const
    {
        return std::min(block_rows, positions - first);
    }
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

void write_rows(const float* sums, std::int64_t num_rows, std::int64_t head_dim, float factor,
                HeadRows<float> to)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t row = 0; row < num_rows; ++row)
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(to[row] + c, factor * load(sums + row * stride + c), count);
        });
}

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

/// Loads one block of queries and what belongs to it. dq becomes zero.
void load_queries(const HeadGradient& head, std::int64_t first, BackwardBlocks& blocks)
{
    const std::int64_t num_queries = head.rows_from(first), head_dim = head.head_dim;
    copy_block(head.q.from(first), num_queries, head_dim, head.scale(), blocks.queries);
    transpose_block(blocks.queries, num_queries, head_dim, blocks.queries_by_channel);
    copy_block(head.dout.from(first), num_queries, head_dim, 1.0F, blocks.dout);
    transpose_block(blocks.dout, num_queries, head_dim, blocks.dout_by_channel);
    std::fill_n(blocks.logsumexp, block_rows, 0.0F);
    std::fill_n(blocks.row_dot, block_rows, 0.0F);
    std::copy_n(head.logsumexp + first, num_queries, blocks.logsumexp);
    std::copy_n(head.row_dot + first, num_queries, blocks.row_dot);
    std::fill_n(blocks.dq, round_up(num_queries, strip_height) * round_up(head_dim, panel_width),
                0.0F);
}

void load_keys(const HeadGradient& head, std::int64_t first, BackwardBlocks& blocks)
{
    const std::int64_t num_keys = head.rows_from(first);
    copy_block(head.k.from(first), num_keys, head.head_dim, 1.0F, blocks.keys);
    copy_block(head.v.from(first), num_keys, head.head_dim, 1.0F, blocks.values);
}

/// What a pair of blocks adds to the gradients: dk and dv by themselves, dq onto what is there.
void differentiate_pair(const BlockPair& pair, std::int64_t head_dim, BackwardBlocks& blocks)
{
    score_product(pair, blocks.keys, blocks.queries_by_channel, head_dim, blocks.p);
    score_product(pair, blocks.values, blocks.dout_by_channel, head_dim, blocks.ds);
    score_gradient(pair, blocks);
    sum_over_queries(pair, blocks.p, blocks.dout, head_dim, blocks.dv);
    sum_over_queries(pair, blocks.ds, blocks.queries, head_dim, blocks.dk);
    add_over_keys(pair, blocks.ds, blocks.keys, head_dim, blocks.dq);
}

void differentiate(const HeadGradient& head, BackwardBlocks& blocks)
{
    add_up_row_dots(head);
    for (std::int64_t first_query = 0; first_query < head.positions; first_query += block_rows) {
        const std::int64_t num_queries = head.rows_from(first_query);
        load_queries(head, first_query, blocks);
        for (std::int64_t first_key = 0; first_key <= first_query; first_key += block_rows) {
            const bool diagonal = first_key == first_query;
            const BlockPair pair{num_queries, head.rows_from(first_key), diagonal};
            load_keys(head, first_key, blocks);
            if (!diagonal) {
                const std::int64_t next = first_key + block_rows;
                prefetch_rows(head.k.from(next), head.rows_from(next), head.head_dim);
                prefetch_rows(head.v.from(next), head.rows_from(next), head.head_dim);
            }
            prefetch_rows(head.dv.from(first_key), pair.num_keys, head.head_dim);
            prefetch_rows(head.dk.from(first_key), pair.num_keys, head.head_dim);
            differentiate_pair(pair, head.head_dim, blocks);
            add_rows(pair, blocks.dv, head.head_dim, head.dv.from(first_key));
            add_rows(pair, blocks.dk, head.head_dim, head.dk.from(first_key));
        }
        write_rows(blocks.dq, num_queries, head.head_dim, head.scale(), head.dq.from(first_query));
    }
}

void differentiate_f32(const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    SLUICE_CHECK(e.head_dim <= max_head_dim, "head_dim " << e.head_dim);
    const auto* qkv = op.qkv.as<float>();
    const auto* dout = op.dout.as<float>();
    const auto* out = op.out.as<float>();
    auto* qkv_gradient = op.qkv_gradient.as<float>();
    const auto* logsumexp = op.logsumexp.as<float>();
    auto* row_dot = op.row_dot.as<float>();
    const std::int64_t channels = e.heads * e.head_dim;

    parallel_for(e.sequences * e.heads, [=](std::int64_t item) {
        const std::int64_t b = item / e.heads, h = item % e.heads;
        const std::int64_t in_heads = b * e.positions * channels + h * e.head_dim;
        const std::int64_t in_qkv = b * e.positions * 3 * channels + h * e.head_dim;
        BackwardBlocks blocks;
        differentiate(HeadGradient{.q = {qkv + in_qkv, 3 * channels},
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
    });
}

} // namespace

void run(Cpu, const AttentionBackward& op)
{
    op.qkv.dtype == DType::bf16 ? differentiate_bf16(op) : differentiate_f32(op);
    run(Cpu{}, RotaryBackward{.qkv_gradient = op.qkv_gradient, .cos = op.cos, .sin = op.sin});
}

} // namespace sluice::kernels
