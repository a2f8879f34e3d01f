// The backward pass on tensor cores, in two kernels without atomics: one owns keys and walks over
// the queries that see them (gradients of keys and values), one owns queries and walks over the
// keys they see. The latter comes first: it adds up row_dot of its rows for both. Each recomputes
// probabilities from logsumexp; the price is two products of seven twice.
//   p_ij = exp(s_ij - logsumexp_i),  ds_ij = p_ij (dout_i v_j - row_dot_i)
//   dv_j = sum_i p_ij dout_i,  dk_j = scale sum_i ds_ij q_i,  dq_i = scale sum_j ds_ij k_j
// Legend: D channels of a head, M times 16 rows of a warp, R rows of a tile that is walked over.
#pragma once

#include "layers/kernels/cuda/attention_simple_kernel.cuh"
#include "layers/kernels/cuda/attention_tiles.cuh"
#include "layers/kernels/cuda/rotary_kernel.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// p = exp2(scale log2(e) p - logsumexp log2(e)) and ds = p (ds - row_dot), 0 where not `seen`.
template <bool diagonal>
SLUICE_DEVICE void probability(float& p, float& ds, float scale, float logsumexp, float row_dot,
                               bool seen)
{
    p = exp2_fast(fmaf(p, scale, -logsumexp));
    if (diagonal && !seen)
        p = 0.0F;
    ds = p * (ds - row_dot);
}

/// sum over channels of dout * out for one query of one head, by eight lanes, which all get it.
inline constexpr int row_dot_lanes = 8;

SLUICE_DEVICE void add_dot(float& sum, const Floats<chunk>& x, const Floats<chunk>& y)
{
    for (int j = 0; j < chunk; ++j)
        sum = fmaf(x[j], y[j], sum);
}

SLUICE_DEVICE float sum_of_lanes(float sum)
{
    for (int mask = row_dot_lanes / 2; mask > 0; mask /= 2)
        sum += shuffle_xor(sum, mask);
    return sum;
}

template <class T>
SLUICE_DEVICE float row_dot_of(const T* dout, const T* out, int channels, bool aligned)
{
    float sum = 0.0F;
    for (int c = lane() % row_dot_lanes * chunk; c < channels; c += row_dot_lanes * chunk)
        add_dot(sum, load_floats<chunk>(dout + c, channels - c, aligned),
                load_floats<chunk>(out + c, channels - c, aligned));
    return sum_of_lanes(sum);
}

template <int D, int M = D == 64 ? 2 : 1, int R = D == 64 ? 32 : 64, int MinBlocks = 2>
struct AttentionKeyGradientKernel : AttentionBackwardInputs<BFloat16> {
    static constexpr int num_threads = attention_threads, min_blocks = MinBlocks;
    static constexpr int rows_of_warp = 16 * M, own_rows = warps_of_block * rows_of_warp;
    struct Shared {
        SharedRows<own_rows, D> keys, values;
        SharedRows<R, D> queries[2], dout[2];
        Vector<float, 2> statistics[2][R]; // logsumexp, row_dot
    };

    SLUICE_DEVICE void load(Shared& shared, int stage, const Tile& at, int first) const
    {
        const int positions = static_cast<int>(e.positions);
        shared.queries[stage].load(part_of_qkv(qkv, e, at, 0), first, positions, aligned);
        shared.dout[stage].load(head_of(dout, e, at), first, positions, aligned);
        if (thread() < R) {
            // Zeros for a query that is not there: its q and dout are zeros, too, and add nothing.
            const bool there = first + thread() < positions;
            const std::int64_t statistic = first_statistic(at) + (there ? first + thread() : 0);
            float(&to)[2] = shared.statistics[stage][thread()].at;
            copy_async_4(&to[0], logsumexp + statistic, there);
            copy_async_4(&to[1], row_dot + statistic, there);
        }
    }

    /// `distance`: of the warp's first key from the tile's first query.
    template <bool diagonal>
    SLUICE_DEVICE void probabilities(WarpSums<M, R>& p, WarpSums<M, R>& ds,
                                     const Vector<float, 2> (&statistics)[R], int distance) const
    {
        SLUICE_UNROLL
        for (int n = 0; n < R / 8; ++n)
            SLUICE_UNROLL
        for (int j = 0; j < 2; ++j) {
            const int column = 8 * n + column_of(j);
            const Vector<float, 2> of_query = statistics[column];
            const float query_logsumexp = of_query.at[0] * log2_of_e;
            SLUICE_UNROLL
            for (int m = 0; m < M; ++m)
                SLUICE_UNROLL
            for (int i = j; i < 4; i += 2)
                probability<diagonal>(p[m][n][i], ds[m][n][i], scale * log2_of_e, query_logsumexp,
                                      of_query.at[1], 16 * m + row_of(i) + distance <= column);
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const auto [head, turn] = order.place_of(static_cast<std::uint32_t>(block_x()));
        const int positions = static_cast<int>(e.positions);
        const int first_row = static_cast<int>(turn) * own_rows;
        const Tile at{head / e.heads, head % e.heads, first_row};
        const int first_key = first_row + warp() * rows_of_warp;

        shared.keys.load(part_of_qkv(qkv, e, at, 1), first_row, positions, aligned);
        shared.values.load(part_of_qkv(qkv, e, at, 2), first_row, positions, aligned);
        load(shared, 0, at, first_row);
        commit_copies();
        WarpSums<M, D> dk, dv;
        int stage = 0;
        for (int first = first_row; first < positions; first += R, stage ^= 1) {
            wait_for_copies<0>();
            barrier(); // everybody's part of this tile is there, and nobody reads the other one
            if (first + R < positions)
                load(shared, stage ^ 1, at, first + R);
            commit_copies();
            const int distance = first_key - first;
            if (distance >= R)
                continue;         // none of these queries sees any of the warp's keys
            WarpSums<M, R> p, ds; // [key, query]
            multiply_rows(p, shared.keys, warp() * rows_of_warp, shared.queries[stage]);
            multiply_rows(ds, shared.values, warp() * rows_of_warp, shared.dout[stage]);
            if (distance > -rows_of_warp)
                probabilities<true>(p, ds, shared.statistics[stage], distance);
            else
                probabilities<false>(p, ds, shared.statistics[stage], distance);
            add_weighted_rows(dv, p, shared.dout[stage]);
            add_weighted_rows(dk, ds, shared.queries[stage]);
        }
        // dv first: then its registers are free for what turning dk takes.
        store_rows(part_of_qkv(qkv_gradient, e, at, 2), first_key, positions, dv, all_rows<M>(1.0F),
                   aligned);
        store_rows_turned_back(part_of_qkv(qkv_gradient, e, at, 1), first_key, positions, dk, scale,
                               cosines, sines, aligned);
    }
};

template <int D, int M = 2, int R = D == 64 ? 64 : 32, int MinBlocks = 2>
struct AttentionQueryGradientKernel : AttentionBackwardInputs<BFloat16> {
    static constexpr int num_threads = attention_threads, min_blocks = MinBlocks;
    static constexpr int rows_of_warp = 16 * M, own_rows = warps_of_block * rows_of_warp;
    struct Shared {
        SharedRows<own_rows, D> queries, dout;
        SharedRows<R, D> keys[2], values[2];
        float row_dots[own_rows];
    };

    /// Of the warp's queries: for itself, and for the kernel that owns keys. Where none is it takes
    /// the last one's, as what comes of it is not stored. Loads of several rows are on their way at
    /// once.
    template <bool vectors>
    SLUICE_DEVICE void compute_row_dots(Shared& shared, const Tile& at, int first_query) const
    {
        constexpr int rows_at_once = warp_size / row_dot_lanes, ahead = 4;
        constexpr int step = row_dot_lanes * chunk, num_chunks = D / step;
        const int last = static_cast<int>(e.positions) - 1;
        const int own_channels = lane() % row_dot_lanes * chunk;
        const HeadRows<const BFloat16> dout_rows = head_of(dout, e, at),
                                       out_rows = head_of(out, e, at);
        for (int first = lane() / row_dot_lanes; first < rows_of_warp;
             first += ahead * rows_at_once) {
            Vector<BFloat16, chunk> x[ahead][num_chunks], y[ahead][num_chunks];
            SLUICE_UNROLL
            for (int i = 0; i < ahead; ++i)
                SLUICE_UNROLL
            for (int c = 0; c < num_chunks; ++c) {
                const int query = first_query + first + i * rows_at_once;
                const std::int64_t there = query < last ? query : last;
                const int channel = own_channels + c * step;
                x[i][c] = load_elements<vectors, chunk>(dout_rows[there] + channel, chunk);
                y[i][c] = load_elements<vectors, chunk>(out_rows[there] + channel, chunk);
            }
            SLUICE_UNROLL
            for (int i = 0; i < ahead; ++i) {
                const int row = first + i * rows_at_once, query = first_query + row;
                float sum = 0.0F;
                SLUICE_UNROLL
                for (int c = 0; c < num_chunks; ++c)
                    add_dot(sum, floats_of<chunk>(x[i][c]), floats_of<chunk>(y[i][c]));
                sum = sum_of_lanes(sum);
                if (lane() % row_dot_lanes != 0)
                    continue;
                shared.row_dots[warp() * rows_of_warp + row] = sum;
                if (query <= last)
                    row_dot[first_statistic(at) + query] = sum;
            }
        }
        warp_barrier();
    }

    /// `distance`: of the warp's first query from the tile's first key.
    template <bool diagonal>
    SLUICE_DEVICE void probabilities(WarpSums<M, R>& p, WarpSums<M, R>& ds,
                                     const OfRows<M>& row_logsumexp, const OfRows<M>& row_dots,
                                     int distance) const
    {
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            SLUICE_UNROLL
        for (int n = 0; n < R / 8; ++n)
            SLUICE_UNROLL
        for (int i = 0; i < 4; ++i)
            probability<diagonal>(p[m][n][i], ds[m][n][i], scale * log2_of_e,
                                  row_logsumexp[m][i / 2], row_dots[m][i / 2],
                                  8 * n + column_of(i) <= 16 * m + row_of(i) + distance);
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const auto [head, turn] = order.place_of(static_cast<std::uint32_t>(block_x()));
        const int positions = static_cast<int>(e.positions);
        const int first_row = static_cast<int>(order.num_tiles - 1 - turn) * own_rows;
        const Tile at{head / e.heads, head % e.heads, first_row};
        auto keys = part_of_qkv(qkv, e, at, 1), values = part_of_qkv(qkv, e, at, 2);
        const int first_query = first_row + warp() * rows_of_warp;
        const int end_key = first_row + own_rows < positions ? first_row + own_rows : positions;

        shared.queries.load(part_of_qkv(qkv, e, at, 0), first_row, positions, aligned);
        shared.dout.load(head_of(dout, e, at), first_row, positions, aligned);
        shared.keys[0].load(keys, 0, positions, aligned);
        shared.values[0].load(values, 0, positions, aligned);
        commit_copies();
        if (aligned)
            compute_row_dots<true>(shared, at, first_query);
        else
            compute_row_dots<false>(shared, at, first_query);
        OfRows<M> row_logsumexp, row_dots;
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            SLUICE_UNROLL
        for (int half = 0; half < 2; ++half) {
            const int query = first_query + 16 * m + row_of(2 * half);
            const bool there = query < positions;
            const std::int64_t statistic = first_statistic(at) + (there ? query : 0);
            row_logsumexp[m][half] = there ? logsumexp[statistic] * log2_of_e : 0.0F;
            row_dots[m][half] = shared.row_dots[query - first_row];
        }
        WarpSums<M, D> dq;
        int stage = 0;
        for (int first = 0; first < end_key; first += R, stage ^= 1) {
            wait_for_copies<0>();
            barrier();
            if (first + R < end_key) {
                keep_only_off_sm_90(keys.first); // not where this thread's copies begin as well
                keep_only_off_sm_90(values.first);
                shared.keys[stage ^ 1].load(keys, first + R, positions, aligned);
                shared.values[stage ^ 1].load(values, first + R, positions, aligned);
            }
            commit_copies();
            const int distance = first_query - first;
            if (distance <= -rows_of_warp)
                continue;         // none of the warp's queries sees any of these keys
            WarpSums<M, R> p, ds; // [query, key]
            multiply_rows(p, shared.queries, warp() * rows_of_warp, shared.keys[stage]);
            multiply_rows(ds, shared.dout, warp() * rows_of_warp, shared.values[stage]);
            if (distance < R - 1)
                probabilities<true>(p, ds, row_logsumexp, row_dots, distance);
            else
                probabilities<false>(p, ds, row_logsumexp, row_dots, distance);
            add_weighted_rows(dq, ds, shared.keys[stage]);
        }
        int first_stored = first_query;
        keep_only_off_sm_90(first_stored); // not the rows' numbers from above all through the loop
        store_rows_turned_back(part_of_qkv(qkv_gradient, e, at, 0), first_stored, positions, dq,
                               scale, cosines, sines, aligned);
    }
};

template <class T>
struct AttentionRowDotKernel {
    static constexpr int num_threads = 256, rows = num_threads / row_dot_lanes;
    const T *dout, *out; // [B,T,H,D]
    float* row_dot;      // [B,H,T]
    AttentionExtents e;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t row = block_x() * rows + thread() / row_dot_lanes; // of [B,T,H]
        const bool there = row < e.sequences * e.positions * e.heads;
        const float sum = row_dot_of(dout + row * e.head_dim, out + row * e.head_dim,
                                     there ? static_cast<int>(e.head_dim) : 0, aligned);
        if (!there || thread() % row_dot_lanes != 0)
            return;
        const std::int64_t head = row % e.heads, position = row / e.heads % e.positions;
        const std::int64_t sequence = row / e.heads / e.positions;
        row_dot[(sequence * e.heads + head) * e.positions + position] = sum;
    }
};

template <class Kernel, class Launcher>
void launch_gradients(const Launcher& launcher, const AttentionBackward& op)
{
    const auto inputs = backward_inputs<BFloat16>(op, Kernel::own_rows);
    launcher(Kernel{inputs}, Grid{inputs.order.num_blocks()}, sizeof(typename Kernel::Shared));
}

template <int D, class Launcher>
void launch_attention_backward_tiles(const Launcher& launcher, const AttentionBackward& op)
{
    launch_gradients<AttentionQueryGradientKernel<D>>(launcher, op); // and row_dot
    launch_gradients<AttentionKeyGradientKernel<D>>(launcher, op);
}

/// On tensor cores where they fit: bfloat16 and heads of 64 or 128 channels.
template <class Launcher>
void launch_attention(const Launcher& launcher, const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    if (op.qkv.dtype == DType::bf16 && e.head_dim == 64)
        return launch_attention_backward_tiles<64>(launcher, op);
    if (op.qkv.dtype == DType::bf16 && e.head_dim == 128)
        return launch_attention_backward_tiles<128>(launcher, op);
    with_type_of(op.dout, [&]<class T>(Type<T>) {
        using Kernel = AttentionRowDotKernel<T>;
        launcher(Kernel{.dout = op.dout.as<T>(),
                        .out = op.out.as<T>(),
                        .row_dot = op.row_dot.as<float>(),
                        .e = e,
                        .aligned = chunks_aligned(e.head_dim, op.dout, op.out)},
                 Grid{blocks_for(e.sequences * e.positions * e.heads, Kernel::rows)});
    });
    launch_attention_simple(launcher, op);
    launch_rotary(launcher,
                  RotaryBackward{.qkv_gradient = op.qkv_gradient, .cos = op.cos, .sin = op.sin});
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
