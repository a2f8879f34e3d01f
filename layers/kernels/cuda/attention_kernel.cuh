// The forward pass on tensor cores: a block takes 64 queries of one head over all keys they see,
// with a running maximum and sum per query (Dao 2023, "FlashAttention-2", algorithm 1). Keys and
// values of the next tile are copied while this one is worked on.
// Legend: D channels of a head, R keys of a tile.
#pragma once

#include "layers/kernels/cuda/attention_simple_kernel.cuh"
#include "layers/kernels/cuda/attention_tiles.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

template <int D>
struct AttentionForwardKernel {
    static constexpr int num_threads = attention_threads, R = 64;
    struct Shared {
        SharedRows<own_rows, D> queries;
        SharedRows<R, D> keys[2], values[2];
    };
    /// What a lane knows of its two rows (r, r + 8) of the warp's 16.
    struct Running {
        float maximum[2] = {-INFINITY, -INFINITY}; // of scores times log2(e)
        float sum[2] = {0.0F, 0.0F};               // this lane's columns alone, until the end
        float out[D / 8][4] = {};
    };

    const BFloat16* qkv; // [B,T,3,H,D]
    BFloat16* out;       // [B,T,H,D]
    float* logsumexp;    // [B,H,T]
    AttentionExtents e;
    std::int64_t num_tiles;
    float scale; // log2(e) / sqrt(D)
    bool aligned;

    SLUICE_DEVICE Tile tile() const
    {
        const std::int64_t head = block_x() % (e.sequences * e.heads);
        const std::int64_t turn = block_x() / (e.sequences * e.heads);
        return {head / e.heads, head % e.heads, (num_tiles - 1 - turn) * own_rows};
    }

    /// scores = exp2(scale scores - maximum); what was summed before is scaled to the new maximum.
    SLUICE_DEVICE void softmax(float (&scores)[R / 8][4], std::int64_t first_query,
                               std::int64_t first_key, Running& running) const
    {
        const bool diagonal = first_key + R > first_query;
        SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            const std::int64_t query = first_query + row_of(2 * half);
            float maximum = running.maximum[half];
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                float& score = scores[n][i];
                score *= scale;
                if (diagonal && first_key + 8 * n + column_of(i) > query)
                    score = -INFINITY;
                maximum = fmaxf(maximum, score);
            }
            maximum = fmaxf(maximum, shuffle_xor(maximum, 1)); // four lanes share a row
            maximum = fmaxf(maximum, shuffle_xor(maximum, 2));
            // Key 0 is seen by all, so the maximum is a number from the first tile on.
            const float factor = exp2_fast(running.maximum[half] - maximum);
            running.maximum[half] = maximum;
            float sum = running.sum[half] * factor;
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                scores[n][i] = exp2_fast(scores[n][i] - maximum);
                sum += scores[n][i];
            }
            running.sum[half] = sum;
            SLUICE_UNROLL
            for (int n = 0; n < D / 8; ++n) {
                running.out[n][2 * half] *= factor;
                running.out[n][2 * half + 1] *= factor;
            }
        }
    }

    SLUICE_DEVICE void finish(const Tile& at, std::int64_t first_query, Running& running) const
    {
        float factor[2];
        float* logsumexp_of_head = logsumexp + (at.sequence * e.heads + at.head) * e.positions;
        SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            float sum = running.sum[half];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            factor[half] = 1.0F / sum;
            const std::int64_t query = first_query + row_of(2 * half);
            if (lane() % 4 == 0 && query < e.positions)
                logsumexp_of_head[query] = running.maximum[half] * ln_2 + logf(sum);
        }
        store_rows<D>(head_of(out, e, at), first_query, e.positions, running.out, factor, aligned);
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const Tile at = tile();
        const auto queries = part_of_qkv(qkv, e, at, 0), keys = part_of_qkv(qkv, e, at, 1),
                   values = part_of_qkv(qkv, e, at, 2);
        const std::int64_t first_query = at.first_row + warp() * rows_of_warp;
        const std::int64_t end_key =
            at.first_row + own_rows < e.positions ? at.first_row + own_rows : e.positions;

        shared.queries.load(queries, at.first_row, e.positions, aligned);
        shared.keys[0].load(keys, 0, e.positions, aligned);
        shared.values[0].load(values, 0, e.positions, aligned);
        commit_copies();
        Running running;
        int stage = 0;
        for (std::int64_t first_key = 0; first_key < end_key; first_key += R, stage ^= 1) {
            if (first_key + R < end_key) {
                shared.keys[stage ^ 1].load(keys, first_key + R, e.positions, aligned);
                shared.values[stage ^ 1].load(values, first_key + R, e.positions, aligned);
            }
            commit_copies();
            wait_for_copies<1>();
            barrier(); // everybody's part of this tile is there
            float scores[R / 8][4] = {};
            multiply_rows<R, D>(scores, shared.queries, warp() * rows_of_warp, shared.keys[stage]);
            softmax(scores, first_query, first_key, running);
            add_weighted_rows<R, D>(running.out, scores, shared.values[stage]);
            barrier(); // before this tile is overwritten
        }
        finish(at, first_query, running);
    }
};

template <int D, class Launcher>
void launch_attention_forward_tiles(const Launcher& launcher, const AttentionForward& op)
{
    using Kernel = AttentionForwardKernel<D>;
    const AttentionExtents e = extents_of(op);
    const std::int64_t num_tiles = blocks_for(e.positions, own_rows);
    const double scale = 1.0 / std::sqrt(static_cast<double>(D));
    launcher(Kernel{.qkv = op.qkv.as<BFloat16>(),
                    .out = op.out.as<BFloat16>(),
                    .logsumexp = op.logsumexp.as<float>(),
                    .e = e,
                    .num_tiles = num_tiles,
                    .scale = static_cast<float>(scale * 1.4426950408889634),
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
