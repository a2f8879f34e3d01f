// The forward pass in float32, and in bfloat16 where the processor has no AMX (attention_bf16.hpp):
// one block of queries of one head at a time, over the blocks of keys it sees,
// with a running maximum and sum per query (Dao et al. 2022, "FlashAttention", algorithm 1).
#include "layers/kernels/attention.hpp"

#include "core/parallel.hpp"
#include "layers/kernels/cpu/attention_bf16.hpp"
#include "layers/kernels/cpu/attention_heads.hpp"
#include "layers/kernels/cpu/attention_tiles.hpp"
#include "layers/kernels/element_types.hpp"

#include <limits>

namespace sluice::kernels {

namespace {

/// What one thread works on, on its stack.
struct ForwardBlocks {
    alignas(64) HeadBlock queries;            ///< transposed, scaled by 1/sqrt(D)
    alignas(64) HeadBlock rows;               ///< queries, then keys, then values
    alignas(64) HeadBlock sums;               ///< [query][P] sum of weights times values
    alignas(64) ScoreBlock scores;            ///< [key][query]
    alignas(64) float maximum[block_rows];    ///< of the scores so far
    alignas(64) float weight_sum[block_rows]; ///< sum of exp(score - maximum) so far
    alignas(64) float rescale[block_rows];    ///< exp(old maximum - new maximum)
};

/// scores = exp(scores - maximum) with the maximum over everything seen so far.
void softmax_block(const BlockPair& pair, ForwardBlocks& blocks)
{
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    for (std::int64_t query = 0; query < pair.num_panels() * panel_width; query += num_lanes) {
        float* scores = blocks.scores + query;
        const Lanes old_maximum = load(blocks.maximum + query);
        Lanes maximum = old_maximum;
        for_visible_keys(pair, query, [&](std::int64_t key, auto visible) {
            maximum = max(visible_or(load(scores + key * block_rows), lowest, visible), maximum);
        });
        Lanes sum{};
        for_visible_keys(pair, query, [&](std::int64_t key, auto visible) {
            float* at = scores + key * block_rows;
            const Lanes weight = visible_or(exp(load(at) - maximum), 0.0F, visible);
            sum += weight;
            store(at, weight);
        });
        clear_unseen(pair, query, blocks.scores);
        const Lanes rescale = exp(old_maximum - maximum);
        store(blocks.maximum + query, maximum);
        store(blocks.rescale + query, rescale);
        store(blocks.weight_sum + query, fma(rescale, load(blocks.weight_sum + query), sum));
    }
}

template <class T>
void attend(const HeadForward<T>& head, std::int64_t first_query, ForwardBlocks& blocks)
{
    const std::int64_t num_queries = std::min(block_rows, head.positions - first_query);
    const std::int64_t head_dim = head.head_dim;
    const std::int64_t stride = round_up(head_dim, panel_width);
    const float scale = scale_of(head_dim);
    copy_block(head.q.from(first_query), num_queries, head_dim, scale, blocks.rows);
    transpose_block(blocks.rows, num_queries, head_dim, blocks.queries);
    std::fill_n(blocks.maximum, block_rows, -std::numeric_limits<float>::infinity());
    std::fill_n(blocks.weight_sum, block_rows, 0.0F);
    std::fill_n(blocks.sums, round_up(num_queries, strip_height) * stride, 0.0F);

    for (std::int64_t first_key = 0; first_key <= first_query; first_key += block_rows) {
        const bool diagonal = first_key == first_query;
        const BlockPair pair{num_queries, diagonal ? num_queries : block_rows, diagonal};
        copy_block(head.k.from(first_key), pair.num_keys, head_dim, 1.0F, blocks.rows);
        score_product(pair, blocks.rows, blocks.queries, head_dim, blocks.scores);
        softmax_block(pair, blocks);
        for (std::int64_t query = 0; query < num_queries; ++query) {
            float* sums = blocks.sums + query * stride;
            for (std::int64_t c = 0; c < stride; c += num_lanes)
                store(sums + c, blocks.rescale[query] * load(sums + c));
        }
        copy_block(head.v.from(first_key), pair.num_keys, head_dim, 1.0F, blocks.rows);
        add_over_keys(pair, blocks.scores, blocks.rows, head_dim, blocks.sums);
    }

    for (std::int64_t query = 0; query < num_queries; ++query) {
        const float weight_sum = blocks.weight_sum[query];
        T* out = head.out[first_query + query];
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(out + c, load(blocks.sums + query * stride + c) / weight_sum, count);
        });
        head.logsumexp[first_query + query] = blocks.maximum[query] + std::log(weight_sum);
    }
}

template <class T>
void attend_all(const AttentionForward& op)
{
    const ForwardHeads<T> heads(op);
    const std::int64_t num_blocks = (heads.places.e.positions + block_rows - 1) / block_rows;
    parallel_for(heads.places.count() * num_blocks, [&](std::int64_t item) {
        ForwardBlocks blocks;
        attend(heads[item / num_blocks], block_in_turn(item % num_blocks, num_blocks) * block_rows,
               blocks);
    });
}

} // namespace

void run(Cpu, const AttentionForward& op)
{
    if (op.qkv.dtype == DType::bf16 && has_fast_bf16_products())
        attend_in_bf16(op);
    else
        with_type_of(op.qkv, [&]<class T>(Type<T>) { attend_all<T>(op); });
}

} // namespace sluice::kernels
