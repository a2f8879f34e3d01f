// The backward pass on tensor cores, in two kernels without atomics: one owns keys and walks over
// the queries that see them (gradients of keys and values), one owns queries and walks over the
// keys they see. Each recomputes probabilities from logsumexp; the price is two products of seven
// twice.
//   p_ij = exp(s_ij - logsumexp_i),  ds_ij = p_ij (dout_i v_j - row_dot_i)
//   dv_j = sum_i p_ij dout_i,  dk_j = scale sum_i ds_ij q_i,  dq_i = scale sum_j ds_ij k_j
// Legend: D channels of a head, R rows of a tile that is walked over.
#pragma once

#include "layers/kernels/cuda/attention_simple_kernel.cuh"
#include "layers/kernels/cuda/attention_tiles.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// How many rows of the other kind fit beside two sets of sums over D in registers.
template <int D>
inline constexpr int backward_rows = D == 64 ? 64 : 32;

template <int D>
struct AttentionKeyGradientKernel : AttentionBackwardInputs<BFloat16> {
    static constexpr int num_threads = attention_threads, R = backward_rows<D>;
    struct Shared {
        SharedRows<own_rows, D> keys, values;
        SharedRows<R, D> queries[2], dout[2];
        float logsumexp[2][R], row_dot[2][R]; // logsumexp times log2(e)
    };

    SLUICE_DEVICE void load(Shared& shared, int stage, const Tile& at, std::int64_t first) const
    {
        shared.queries[stage].load(part_of_qkv(qkv, e, at, 0), first, e.positions, aligned);
        shared.dout[stage].load(head_of(dout, e, at), first, e.positions, aligned);
        if (thread() < R && first + thread() < e.positions) {
            const std::int64_t statistic = first_statistic(at) + first + thread();
            shared.logsumexp[stage][thread()] = logsumexp[statistic] * log2_of_e;
            shared.row_dot[stage][thread()] = row_dot[statistic];
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const std::int64_t head = block_x() % (e.sequences * e.heads);
        const Tile at{head / e.heads, head % e.heads,
                      block_x() / (e.sequences * e.heads) * own_rows};
        const std::int64_t first_key = at.first_row + warp() * rows_of_warp;

        shared.keys.load(part_of_qkv(qkv, e, at, 1), at.first_row, e.positions, aligned);
        shared.values.load(part_of_qkv(qkv, e, at, 2), at.first_row, e.positions, aligned);
        load(shared, 0, at, at.first_row);
        commit_copies();
        float dk[D / 8][4] = {}, dv[D / 8][4] = {};
        int stage = 0;
        for (std::int64_t first = at.first_row; first < e.positions; first += R, stage ^= 1) {
            if (first + R < e.positions)
                load(shared, stage ^ 1, at, first + R);
            commit_copies();
            wait_for_copies<1>();
            barrier();
            float p[R / 8][4] = {}, ds[R / 8][4] = {}; // [key, query]
            multiply_rows<R, D>(p, shared.keys, warp() * rows_of_warp, shared.queries[stage]);
            multiply_rows<R, D>(ds, shared.values, warp() * rows_of_warp, shared.dout[stage]);
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 0; i < 4; ++i) {
                const int column = 8 * n + column_of(i);
                const std::int64_t query = first + column;
                if (query < e.positions && first_key + row_of(i) <= query) {
                    p[n][i] =
                        exp2_fast(p[n][i] * (scale * log2_of_e) - shared.logsumexp[stage][column]);
                    ds[n][i] = p[n][i] * (ds[n][i] - shared.row_dot[stage][column]);
                } else {
                    p[n][i] = ds[n][i] = 0.0F;
                }
            }
            add_weighted_rows<R, D>(dv, p, shared.dout[stage]);
            add_weighted_rows<R, D>(dk, ds, shared.queries[stage]);
            barrier();
        }
        store_rows<D>(part_of_qkv(qkv_gradient, e, at, 1), first_key, e.positions, dk,
                      {scale, scale}, aligned);
        store_rows<D>(part_of_qkv(qkv_gradient, e, at, 2), first_key, e.positions, dv, {1.0F, 1.0F},
                      aligned);
    }
};

template <int D>
struct AttentionQueryGradientKernel : AttentionBackwardInputs<BFloat16> {
    static constexpr int num_threads = attention_threads, R = backward_rows<D>;
    struct Shared {
        SharedRows<own_rows, D> queries, dout;
        SharedRows<R, D> keys[2], values[2];
    };

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const std::int64_t head = block_x() % (e.sequences * e.heads);
        const std::int64_t turn = block_x() / (e.sequences * e.heads);
        const Tile at{head / e.heads, head % e.heads, (num_tiles - 1 - turn) * own_rows};
        const auto keys = part_of_qkv(qkv, e, at, 1), values = part_of_qkv(qkv, e, at, 2);
        const std::int64_t first_query = at.first_row + warp() * rows_of_warp;
        const std::int64_t end_key =
            at.first_row + own_rows < e.positions ? at.first_row + own_rows : e.positions;

        float row_logsumexp[2], row_dots[2]; // of this lane's two rows
        SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            const std::int64_t query = first_query + row_of(2 * half);
            const bool there = query < e.positions;
            const std::int64_t statistic = first_statistic(at) + (there ? query : 0);
            row_logsumexp[half] = there ? logsumexp[statistic] * log2_of_e : 0.0F;
            row_dots[half] = there ? row_dot[statistic] : 0.0F;
        }
        shared.queries.load(part_of_qkv(qkv, e, at, 0), at.first_row, e.positions, aligned);
        shared.dout.load(head_of(dout, e, at), at.first_row, e.positions, aligned);
        shared.keys[0].load(keys, 0, e.positions, aligned);
        shared.values[0].load(values, 0, e.positions, aligned);
        commit_copies();
        float dq[D / 8][4] = {};
        int stage = 0;
        for (std::int64_t first = 0; first < end_key; first += R, stage ^= 1) {
            if (first + R < end_key) {
                shared.keys[stage ^ 1].load(keys, first + R, e.positions, aligned);
                shared.values[stage ^ 1].load(values, first + R, e.positions, aligned);
            }
            commit_copies();
            wait_for_copies<1>();
            barrier();
            float p[R / 8][4] = {}, ds[R / 8][4] = {}; // [query, key]
            multiply_rows<R, D>(p, shared.queries, warp() * rows_of_warp, shared.keys[stage]);
            multiply_rows<R, D>(ds, shared.dout, warp() * rows_of_warp, shared.values[stage]);
            SLUICE_UNROLL
            for (int n = 0; n < R / 8; ++n)
                SLUICE_UNROLL
            for (int i = 0; i < 4; ++i) {
                const bool seen = first + 8 * n + column_of(i) <= first_query + row_of(i);
                const float weight =
                    exp2_fast(p[n][i] * (scale * log2_of_e) - row_logsumexp[i / 2]);
                ds[n][i] = seen ? weight * (ds[n][i] - row_dots[i / 2]) : 0.0F;
            }
            add_weighted_rows<R, D>(dq, ds, shared.keys[stage]);
            barrier();
        }
        store_rows<D>(part_of_qkv(qkv_gradient, e, at, 0), first_query, e.positions, dq,
                      {scale, scale}, aligned);
    }
};

/// A warp per position and head.
template <class T>
struct AttentionRowDotKernel {
    static constexpr int num_threads = 256, rows = num_threads / warp_size;
    const T *dout, *out; // [B,T,H,D]
    float* row_dot;      // [B,H,T]
    AttentionExtents e;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t row = block_x() * rows + warp(); // of [B,T,H]
        if (row >= e.sequences * e.positions * e.heads)
            return;
        float sum = 0.0F;
        for (std::int64_t c = lane() * chunk; c < e.head_dim; c += warp_size * chunk) {
            const std::int64_t at = row * e.head_dim + c, count = e.head_dim - c;
            const Floats<chunk> x = load_floats<chunk>(dout + at, count, aligned);
            const Floats<chunk> y = load_floats<chunk>(out + at, count, aligned);
            for (int j = 0; j < chunk; ++j)
                sum = fmaf(x[j], y[j], sum);
        }
        sum = warp_sum(sum);
        const std::int64_t head = row % e.heads, position = row / e.heads % e.positions;
        const std::int64_t sequence = row / e.heads / e.positions;
        if (lane() == 0)
            row_dot[(sequence * e.heads + head) * e.positions + position] = sum;
    }
};

template <int D, class Launcher>
void launch_attention_backward_tiles(const Launcher& launcher, const AttentionBackward& op)
{
    using Keys = AttentionKeyGradientKernel<D>;
    using Queries = AttentionQueryGradientKernel<D>;
    const auto inputs = backward_inputs<BFloat16>(op, own_rows);
    const Grid grid{inputs.e.sequences * inputs.e.heads * inputs.num_tiles};
    launcher(Keys{inputs}, grid, sizeof(typename Keys::Shared));
    launcher(Queries{inputs}, grid, sizeof(typename Queries::Shared));
}

/// On tensor cores where they fit: bfloat16 and heads of 64 or 128 channels.
template <class Launcher>
void launch_attention(const Launcher& launcher, const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    with_type_of(op.dout, [&]<class T>(Type<T>) {
        using Kernel = AttentionRowDotKernel<T>;
        launcher(Kernel{.dout = op.dout.as<T>(),
                        .out = op.out.as<T>(),
                        .row_dot = op.row_dot.as<float>(),
                        .e = e,
                        .aligned = chunks_aligned(e.head_dim, op.dout, op.out)},
                 Grid{blocks_for(e.sequences * e.positions * e.heads, Kernel::rows)});
    });
    if (op.qkv.dtype == DType::bf16 && e.head_dim == 64)
        return launch_attention_backward_tiles<64>(launcher, op);
    if (op.qkv.dtype == DType::bf16 && e.head_dim == 128)
        return launch_attention_backward_tiles<128>(launcher, op);
    launch_attention_simple(launcher, op);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
