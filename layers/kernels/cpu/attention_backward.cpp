// The backward pass in float32, and in bfloat16 where the processor has no AMX
// (attention_bf16.hpp): one head at a time, block pair by block pair, with the probabilities
// recomputed from the log sum of exponentials (Dao et al. 2022, "FlashAttention", algorithm 4).
// One thread owns a head, so every gradient adds in a fixed order, and in float32: queries outside
// and keys inside where gradients themselves are float32; the other way round in bfloat16, where
// the sums of dk and dv then stay in their block, and those of dq wait in what is written last.
#include "core/parallel.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/cpu/attention_bf16.hpp"
#include "layers/kernels/cpu/attention_heads.hpp"
#include "layers/kernels/cpu/attention_tiles.hpp"
#include "layers/kernels/cpu/waiting_sums.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/rotary.hpp"

namespace sluice::kernels {

namespace {

/// What one thread works on, on its stack.
struct BackwardBlocks {
    alignas(64) HeadBlock queries, queries_by_channel; ///< scaled by 1/sqrt(D); and transposed
    alignas(64) HeadBlock dout, dout_by_channel;       ///< and transposed
    alignas(64) HeadBlock dq;                          ///< [query][P] sum over the keys
    alignas(64) HeadBlock keys, values;
    alignas(64) HeadBlock dk, dv; ///< [key][P] sums over queries: of one pair, or of all
    alignas(64) ScoreBlock p, ds; ///< [key][query]
    alignas(64) float logsumexp[block_rows];
    alignas(64) float row_dot[block_rows];
};

template <class T>
std::int64_t rows_from(const HeadGradient<T>& head, std::int64_t first)
{
    return std::min(block_rows, head.positions - first);
}

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

/// Loads one block of queries and what belongs to it. dq becomes zero.
template <class T>
void load_queries(const HeadGradient<T>& head, std::int64_t first, BackwardBlocks& blocks)
{
    const std::int64_t num_queries = rows_from(head, first), head_dim = head.head_dim;
    copy_block(head.q.from(first), num_queries, head_dim, scale_of(head.head_dim), blocks.queries);
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

template <class T>
void load_keys(const HeadGradient<T>& head, std::int64_t first, BackwardBlocks& blocks)
{
    const std::int64_t num_keys = rows_from(head, first);
    copy_block(head.k.from(first), num_keys, head.head_dim, 1.0F, blocks.keys);
    copy_block(head.v.from(first), num_keys, head.head_dim, 1.0F, blocks.values);
}

/// What a pair of blocks adds to the gradients: dk and dv from `start`, dq onto what is there.
template <Start start>
void differentiate_pair(const BlockPair& pair, std::int64_t head_dim, BackwardBlocks& blocks)
{
    score_product(pair, blocks.keys, blocks.queries_by_channel, head_dim, blocks.p);
    score_product(pair, blocks.values, blocks.dout_by_channel, head_dim, blocks.ds);
    score_gradient(pair, blocks);
    sum_over_queries<start>(pair, blocks.p, blocks.dout, head_dim, blocks.dv);
    sum_over_queries<start>(pair, blocks.ds, blocks.queries, head_dim, blocks.dk);
    add_over_keys(pair, blocks.ds, blocks.keys, head_dim, blocks.dq);
}

void differentiate(const HeadGradient<float>& head, BackwardBlocks& blocks)
{
    add_up_row_dots(head);
    for (std::int64_t first_query = 0; first_query < head.positions; first_query += block_rows) {
        const std::int64_t num_queries = rows_from(head, first_query);
        load_queries(head, first_query, blocks);
        for (std::int64_t first_key = 0; first_key <= first_query; first_key += block_rows) {
            const bool diagonal = first_key == first_query;
            const BlockPair pair{num_queries, rows_from(head, first_key), diagonal};
            load_keys(head, first_key, blocks);
            if (!diagonal) {
                const std::int64_t next = first_key + block_rows;
                prefetch_rows(head.k.from(next), rows_from(head, next), head.head_dim);
                prefetch_rows(head.v.from(next), rows_from(head, next), head.head_dim);
            }
            prefetch_rows(head.dv.from(first_key), pair.num_keys, head.head_dim);
            prefetch_rows(head.dk.from(first_key), pair.num_keys, head.head_dim);
            differentiate_pair<Start::zero>(pair, head.head_dim, blocks);
            add_rows(pair, blocks.dv, head.head_dim, head.dv.from(first_key));
            add_rows(pair, blocks.dk, head.head_dim, head.dk.from(first_key));
        }
        write_rows(blocks.dq, round_up(head.head_dim, panel_width), num_queries, head.head_dim,
                   scale_of(head.head_dim), head.dq.from(first_query));
    }
}

void differentiate(const HeadGradient<BFloat16>& head, BackwardBlocks& blocks)
{
    add_up_row_dots(head);
    const std::int64_t stride = round_up(head.head_dim, panel_width);
    const std::int64_t block_size = stride * block_rows;
    for (std::int64_t first_key = 0; first_key < head.positions; first_key += block_rows) {
        const std::int64_t num_keys = rows_from(head, first_key);
        load_keys(head, first_key, blocks);
        std::fill_n(blocks.dk, block_size, 0.0F);
        std::fill_n(blocks.dv, block_size, 0.0F);
        for (std::int64_t first_query = first_key; first_query < head.positions;
             first_query += block_rows) {
            const bool diagonal = first_key == first_query;
            const BlockPair pair{rows_from(head, first_query), num_keys, diagonal};
            load_queries(head, first_query, blocks);
            const std::int64_t next = first_query + block_rows;
            if (next < head.positions) {
                prefetch_rows(head.q.from(next), rows_from(head, next), head.head_dim);
                prefetch_rows(head.dout.from(next), rows_from(head, next), head.head_dim);
                prefetch_rows(head.dq.from(next), rows_from(head, next), head.head_dim);
                prefetch_rows(head.dk.from(next), rows_from(head, next), head.head_dim);
            }
            // The gradients of these queries' own keys are not there before their diagonal pair,
            // the last one that adds to dq.
            const WaitingSums dq{head.dq.from(first_query), head.dk.from(first_query)};
            if (first_key > 0)
                dq.get(pair.num_queries, head.head_dim, blocks.dq, stride);
            differentiate_pair<Start::sum>(pair, head.head_dim, blocks);
            if (diagonal)
                write_rows(blocks.dq, stride, pair.num_queries, head.head_dim,
                           scale_of(head.head_dim), dq.upper);
            else
                dq.put(blocks.dq, stride, pair.num_queries, head.head_dim);
        }
        write_rows(blocks.dk, stride, num_keys, head.head_dim, 1.0F, head.dk.from(first_key));
        write_rows(blocks.dv, stride, num_keys, head.head_dim, 1.0F, head.dv.from(first_key));
    }
}

template <class T>
void differentiate_all(const AttentionBackward& op)
{
    const GradientHeads<T> heads(op);
    parallel_for(heads.places.count(), [&](std::int64_t head) {
        BackwardBlocks blocks;
        differentiate(heads[head], blocks);
    });
}

} // namespace

void run(Cpu, const AttentionBackward& op)
{
    if (op.qkv.dtype == DType::bf16 && has_fast_bf16_products())
        differentiate_in_bf16(op);
    else
        with_type_of(op.qkv, [&]<class T>(Type<T>) { differentiate_all<T>(op); });
    run(Cpu{}, RotaryBackward{.qkv_gradient = op.qkv_gradient, .cos = op.cos, .sin = op.sin});
}

} // namespace sluice::kernels
