// The forward pass on tensor cores: a warp takes 16 M queries of one head over all keys they see,
// with a running maximum and sum per query (Dao 2023, "FlashAttention-2", algorithm 1). Keys and
// values of the next tile are copied while this one is worked on.
// Legend: D channels of a head, M times 16 queries of a warp, R keys of a tile.
#pragma once

#include "layers/kernels/cuda/attention_simple_kernel.cuh"
#include "layers/kernels/cuda/attention_tiles.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

template <int D, int M = D == 64 ? 1 : 2, int R = D == 64 ? 64 : 32,
          int MinBlocks = D == 64 ? 4 : 2>
struct AttentionForwardKernel {
    static constexpr int num_threads = attention_threads, min_blocks = MinBlocks;
    static constexpr int rows_of_warp = 16 * M, own_rows = warps_of_block * rows_of_warp;
    struct Shared {
        SharedRows<own_rows, D> queries;
        SharedRows<R, D> keys[2], values[2];
    };
    /// What a lane knows of its rows (16 m + r, 16 m + r + 8) of the warp's.
    struct Running {
        OfRows<M> maximum; // of scores, not yet scaled
        OfRows<M> sum;     // this lane's columns alone, until the end
        WarpSums<M, D> out;
    };

    const BFloat16* qkv; // [B,T,3,H,D]
    BFloat16* out;       // [B,T,H,D]
    float* logsumexp;    // [B,H,T]
    AttentionExtents e;
    BlockOrder order;
    float scale; // log2(e) / sqrt(D)
    bool aligned;

    /// scores = exp2(scale (scores - maximum)); what was summed before is scaled to the new
    /// maximum. `distance`: of the warp's first query from the tile's first key.
    template <bool diagonal>
    SLUICE_DEVICE void softmax(WarpSums<M, R>& scores, int distance, Running& running) const
    {
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            float maximum = running.maximum[m][half];
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                float& score = scores[m][n][i];
                if (diagonal && 8 * n + column_of(i) > 16 * m + row_of(i) + distance)
                    score = -INFINITY;
                maximum = fmaxf(maximum, score);
            }
            maximum = fmaxf(maximum, shuffle_xor(maximum, 1)); // four lanes share a row
            maximum = fmaxf(maximum, shuffle_xor(maximum, 2));
            // Key 0 is seen by all, so the maximum is a number from the first tile on.
            const float scaled_maximum = maximum * scale;
            const float factor = exp2_fast(fmaf(running.maximum[m][half], scale, -scaled_maximum));
            running.maximum[m][half] = maximum;
            float sum = running.sum[m][half] * factor;
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                float& score = scores[m][n][i];
                score = exp2_fast(fmaf(score, scale, -scaled_maximum));
                sum += score;
            }
            running.sum[m][half] = sum;
            SLUICE_UNROLL
            for (int n = 0; n < D / 8; ++n) {
                running.out[m][n][2 * half] *= factor;
                running.out[m][n][2 * half + 1] *= factor;
            }
        }
    }

    SLUICE_DEVICE void finish(const Tile& at, int first_query, Running& running) const
    {
        OfRows<M> factor;
        float* logsumexp_of_head = logsumexp + (at.sequence * e.heads + at.head) * e.positions;
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            float sum = running.sum[m][half];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            factor[m][half] = 1.0F / sum;
            const int query = first_query + 16 * m + row_of(2 * half);
            if (lane() % 4 == 0 && query < e.positions)
                logsumexp_of_head[query] = running.maximum[m][half] * (scale * ln_2) + logf(sum);
        }
        store_rows<M, D>(head_of(out, e, at), first_query, static_cast<int>(e.positions),
                         running.out, factor, aligned);
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const auto [head, turn] = order.place_of(static_cast<std::uint32_t>(block_x()));
        const int positions = static_cast<int>(e.positions);
        const int first_row = static_cast<int>(order.num_tiles - 1 - turn) * own_rows;
        const Tile at{head / e.heads, head % e.heads, first_row};
        const auto queries = part_of_qkv(qkv, e, at, 0), keys = part_of_qkv(qkv, e, at, 1),
                   values = part_of_qkv(qkv, e, at, 2);
        const int first_query = first_row + warp() * rows_of_warp;
        const int end_key = first_row + own_rows < positions ? first_row + own_rows : positions;

        shared.queries.load(queries, first_row, positions, aligned);
        shared.keys[0].load(keys, 0, positions, aligned);
        shared.values[0].load(values, 0, positions, aligned);
        commit_copies();
        Running running{.maximum = all_rows<M>(-INFINITY), .sum = all_rows<M>(0.0F), .out = {}};
        int stage = 0;
        for (int first_key = 0; first_key < end_key; first_key += R, stage ^= 1) {
            wait_for_copies<0>();
            barrier(); // everybody's part of this tile is there, and nobody reads the other one
            if (first_key + R < end_key) {
                shared.keys[stage ^ 1].load(keys, first_key + R, positions, aligned);
                shared.values[stage ^ 1].load(values, first_key + R, positions, aligned);
            }
            commit_copies();
            const int distance = first_query - first_key;
            if (distance <= -rows_of_warp)
                continue; // none of the warp's queries sees any of these keys
            WarpSums<M, R> scores;
            multiply_rows(scores, shared.queries, warp() * rows_of_warp, shared.keys[stage]);
            if (distance < R - 1)
                softmax<true>(scores, distance, running);
            else
                softmax<false>(scores, distance, running);
            add_weighted_rows(running.out, scores, shared.values[stage]);
        }
        finish(at, first_query, running);
    }
};

template <int D, class Launcher>
void launch_attention_forward_tiles(const Launcher& launcher, const AttentionForward& op)
{
    using Kernel = AttentionForwardKernel<D>;
    const AttentionExtents e = extents_of(op);
    const std::int64_t num_tiles = blocks_for(e.positions, Kernel::own_rows);
    const double scale = 1.0 / std::sqrt(static_cast<double>(D));
    launcher(Kernel{.qkv = op.qkv.as<BFloat16>(),
                    .out = op.out.as<BFloat16>(),
                    .logsumexp = op.logsumexp.as<float>(),
                    .e = e,
                    .order = block_order(e, num_tiles),
                    .scale = static_cast<float>(scale * std::numbers::log2e),
                    .aligned = chunks_aligned(D, op.qkv, op.out)},
             Grid{e.sequences * e.heads * num_tiles}, sizeof(typename Kernel::Shared));
}

/// On tensor cores where they fit: bfloat16 and heads of 64 or 128 channels.
template <class Launcher>
void launch_attention(const Launcher& launcher, const AttentionForward& op)
{
    const std::int64_t head_dim = extents_of(op).head_dim;
    if (op.qkv.dtype == DType::bf16 && head_dim == 64)
        return launch_attention_forward_tiles<64>(launcher, op);
    if (op.qkv.dtype == DType::bf16 && head_dim == 128)
        return launch_attention_forward_tiles<128>(launcher, op);
    launch_attention_simple(launcher, op);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
