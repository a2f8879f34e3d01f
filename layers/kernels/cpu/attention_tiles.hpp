// Blocks of one head that stay in a core's cache, and the products attention takes of them.
//
// Scores are held transposed, [key][query], with queries along the vector lanes: maxima and sums of
// a softmax row then run down the keys, lane by lane, and a row of keys enters a product as scalars
// without being transposed.
//
// Legend: D channels of a head; P = D rounded up to whole panels, the row stride of [row][channel]
// blocks; channels from D to P are zero.
#pragma once

#include "layers/kernels/cpu/attention_strips.hpp"
#include "layers/kernels/cpu/head_rows.hpp"
#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>
#include <cstdint>

namespace sluice::kernels {

/// Queries, and keys, of a block: a multiple of both, five blocks of D = 64 fit in 512 KiB of L2
/// together with two of scores.
inline constexpr std::int64_t block_rows = 96;

using HeadBlock = float[block_rows * max_head_dim];
using ScoreBlock = float[block_rows * block_rows];

/// to[row][P] = factor * from[row] for `num_rows` rows; rows up to the next whole strip and
/// channels from D to P become zero.
template <class T>
inline void copy_block(HeadRows<const T> from, std::int64_t num_rows, std::int64_t head_dim,
                       float factor, float* to)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t row = 0; row < num_rows; ++row) {
        float* to_row = to + row * stride;
        for_each_chunk(head_dim, [&](std::int64_t c, auto count) {
            store(to_row + c, factor * load(from[row] + c, count), count);
        });
        std::fill(to_row + head_dim, to_row + stride, 0.0F);
    }
    std::fill(to + num_rows * stride, to + round_up(num_rows, strip_height) * stride, 0.0F);
}

/// Rows as lanes: to[panel][channel][lane] = from[panel * panel_width + lane][channel] out of a
/// block that copy_block() made; lanes beyond its rows become zero.
inline void transpose_block(const float* from, std::int64_t num_rows, std::int64_t head_dim,
                            float* to)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    const std::int64_t rows = round_up(num_rows, strip_height);
    for (std::int64_t row = 0; row < round_up(rows, panel_width); ++row) {
        float* lane = to + row / panel_width * panel_width * head_dim + row % panel_width;
        for (std::int64_t c = 0; c < head_dim; ++c)
            lane[c * panel_width] = row < rows ? from[row * stride + c] : 0.0F;
    }
}

/// One block of queries against one block of keys.
struct BlockPair {
    std::int64_t num_queries, num_keys;
    bool diagonal; ///< queries and keys start at the same position; else every key is in the past

    std::int64_t query_rows() const { return round_up(num_queries, strip_height); }
    std::int64_t key_rows() const { return round_up(num_keys, strip_height); }
    std::int64_t num_panels() const { return round_up(query_rows(), panel_width) / panel_width; }
    /// How many keys the queries before `query_end` see.
    std::int64_t visible_keys(std::int64_t query_end) const
    {
        return diagonal ? std::min(num_keys, query_end) : num_keys;
    }
};

/// scores[key][query] = sum over D of rows[key] * queries, for the panels and strips that the
/// causal mask leaves anything of. `rows` [key][P], `queries` as transpose_block() makes them.
inline void score_product(const BlockPair& pair, const float* rows, const float* queries,
                          std::int64_t head_dim, float* scores)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t panel = 0; panel < pair.num_panels(); panel += panels_at_once()) {
        const std::int64_t num_panels = std::min(panels_at_once(), pair.num_panels() - panel);
        const std::int64_t query = panel * panel_width;
        const std::int64_t visible = pair.visible_keys(query + num_panels * panel_width);
        for (std::int64_t key = 0; key < visible; key += strip_height)
            multiply_strip<Start::zero>(
                {rows + key * stride, stride, 1},
                {queries + query * head_dim, panel_width, panel_width * head_dim}, num_panels,
                head_dim, scores + key * block_rows + query, block_rows);
    }
}

/// sums[query][P] += sum over keys of weights[key][query] * rows[key][P].
inline void add_over_keys(const BlockPair& pair, const float* weights, const float* rows,
                          std::int64_t head_dim, float* sums)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t query = 0; query < pair.query_rows(); query += strip_height)
        multiply_strip<Start::sum>({weights + query, 1, block_rows}, {rows, stride, panel_width},
                                   stride / panel_width, pair.visible_keys(query + strip_height),
                                   sums + query * stride, stride);
}

/// sums[key][P] (+)= sum over queries of weights[key][query] * rows[query][P].
template <Start start>
inline void sum_over_queries(const BlockPair& pair, const float* weights, const float* rows,
                             std::int64_t head_dim, float* sums)
{
    const std::int64_t stride = round_up(head_dim, panel_width);
    for (std::int64_t key = 0; key < pair.key_rows(); key += strip_height) {
        const std::int64_t first = pair.diagonal ? key : 0; // earlier queries do not see these keys
        multiply_strip<start>({weights + key * block_rows + first, block_rows, 1},
                              {rows + first * stride, stride, panel_width}, stride / panel_width,
                              pair.num_queries - first, sums + key * stride, stride);
    }
}

/// Which of eight neighbouring queries see a key: all, or those from lane `first` on.
struct AllQueries {};
struct QueriesFrom {
    float first;
};

inline Lanes visible_or(const Lanes& lanes, float, AllQueries) { return lanes; }
inline Lanes visible_or(const Lanes& lanes, float hidden, QueriesFrom visible)
{
    constexpr Lanes lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7};
    return lane_numbers >= visible.first ? lanes : broadcast(hidden);
}

/// visit(key, AllQueries or QueriesFrom) for every key that any of the eight queries from `query`
/// sees, ascending.
template <class Visit>
inline void for_visible_keys(const BlockPair& pair, std::int64_t query, Visit&& visit)
{
    const std::int64_t seen_by_all = pair.visible_keys(query + 1);
    const std::int64_t seen_by_some = pair.visible_keys(query + num_lanes);
    for (std::int64_t key = 0; key < seen_by_all; ++key)
        visit(key, AllQueries{});
    for (std::int64_t key = seen_by_all; key < seen_by_some; ++key)
        visit(key, QueriesFrom{static_cast<float>(key - query)});
}

/// Zero for the keys that none of the eight queries from `query` sees: the products read some.
inline void clear_unseen(const BlockPair& pair, std::int64_t query, float* scores)
{
    for (std::int64_t key = pair.visible_keys(query + num_lanes); key < pair.key_rows(); ++key)
        store(scores + key * block_rows + query, Lanes{});
}

} // namespace sluice::kernels
