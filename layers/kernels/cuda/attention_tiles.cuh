// Attention on tensor cores: tiles of rows in shared memory, and the two products that all three
// kernels are made of. A warp owns 16 M rows ("own": queries, or keys); blocks walk over tiles of
// the others ("other"). Every other tile that a warp loads into registers is multiplied M times.
// Legend: D channels of a head (64 or 128), M times 16 rows of a warp, R rows of the other tile.
#pragma once

#include "core/error.hpp"
#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int attention_threads = 128;
inline constexpr int warps_of_block = attention_threads / warp_size;
inline constexpr std::int64_t max_positions = std::int64_t{1} << 30; // distances fit 32 bits
inline constexpr float ln_2 = 0.6931471805599453F;

/// Rows of one head inside [B,T,3,H,D] or [B,T,H,D].
template <class T>
struct HeadRows {
    T* first; // [D] at position 0
    std::int64_t stride;
    SLUICE_DEVICE T* operator[](std::int64_t position) const { return first + position * stride; }
};

/// Which head and which rows a block works on.
struct Tile {
    std::int64_t sequence, head, first_row;
};

/// Heads are worked on in groups, so that what all blocks of a head read again and again is still
/// in the L2 cache; within a group the `turn`-th tiles of all heads follow each other, so that a
/// kernel whose first turn is the longest ends evenly.
struct BlockOrder {
    std::uint32_t heads, num_tiles, group; // of all sequences, of a head, heads of a group

    struct Place {
        std::uint32_t head, turn;
    };
    std::int64_t num_blocks() const { return std::int64_t{heads} * num_tiles; }
    SLUICE_DEVICE Place place_of(std::uint32_t block) const
    {
        const std::uint32_t first = block / (group * num_tiles) * group;
        const std::uint32_t heads_here = heads - first < group ? heads - first : group;
        const std::uint32_t rest = block - first * num_tiles;
        return {first + rest % heads_here, rest / heads_here};
    }
};

inline BlockOrder block_order(const AttentionExtents& e, std::int64_t num_tiles)
{
    SLUICE_CHECK(e.positions <= max_positions, e.positions << " positions");
    // Two of q, k, v and dout; half of the L2 cache of an A100, a third of an H100's.
    constexpr std::int64_t cached_bytes = 16 << 20;
    const std::int64_t bytes_of_head = 2 * e.positions * e.head_dim * 2;
    const std::int64_t heads = e.sequences * e.heads;
    SLUICE_CHECK(heads * num_tiles < std::int64_t{1} << 31, heads * num_tiles << " blocks");
    return {static_cast<std::uint32_t>(heads), static_cast<std::uint32_t>(num_tiles),
            static_cast<std::uint32_t>(
                std::clamp<std::int64_t>(cached_bytes / bytes_of_head, 1, heads))};
}

template <class T>
SLUICE_DEVICE HeadRows<T> part_of_qkv(T* qkv, const AttentionExtents& e, const Tile& tile, int part)
{
    const std::int64_t stride = 3 * e.heads * e.head_dim;
    return {qkv + tile.sequence * e.positions * stride + (part * e.heads + tile.head) * e.head_dim,
            stride};
}

template <class T>
SLUICE_DEVICE HeadRows<T> head_of(T* heads, const AttentionExtents& e, const Tile& tile)
{
    const std::int64_t stride = e.heads * e.head_dim;
    return {heads + tile.sequence * e.positions * stride + tile.head * e.head_dim, stride};
}

/// What the kernels of the backward pass read.
template <class T>
struct AttentionBackwardInputs {
    const T *dout, *qkv, *out;    // [B,T,H,D], [B,T,3,H,D], [B,T,H,D]
    const float* logsumexp;       // [B,H,T]
    float* row_dot;               // [B,H,T]
    const float *cosines, *sines; // [T', D/2]
    T* qkv_gradient;              // [B,T,3,H,D]
    AttentionExtents e;
    BlockOrder order;
    float scale; // 1 / sqrt(D)
    bool aligned;

    SLUICE_DEVICE std::int64_t first_statistic(const Tile& at) const
    {
        return (at.sequence * e.heads + at.head) * e.positions;
    }
};

template <class T>
AttentionBackwardInputs<T> backward_inputs(const AttentionBackward& op, std::int64_t rows_of_block)
{
    const AttentionExtents e = extents_of(op);
    return {.dout = op.dout.as<T>(),
            .qkv = op.qkv.as<T>(),
            .out = op.out.as<T>(),
            .logsumexp = op.logsumexp.as<float>(),
            .row_dot = op.row_dot.as<float>(),
            .cosines = op.cos.as<float>(),
            .sines = op.sin.as<float>(),
            .qkv_gradient = op.qkv_gradient.as<T>(),
            .e = e,
            .order = block_order(e, blocks_for(e.positions, rows_of_block)),
            .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(e.head_dim))),
            .aligned = chunks_aligned(e.head_dim, op.dout, op.qkv, op.out, op.qkv_gradient) &&
                       chunks_aligned(e.head_dim / 2, op.cos, op.sin)};
}

/// [R,D] in shared memory. Pieces of 8 channels (16 bytes) are swapped within a row, by the row's
/// number, so that 8 rows' pieces of the same channels lie in different banks.
template <int R, int D>
struct alignas(128) SharedRows {
    BFloat16 elements[R * D];

    /// Of the piece that begins with `channel`. For multiples k of 16 and r of 8:
    /// place(row, channel + k) == (place(row, channel) ^ k) when channel < 16, and
    /// place(row + r, channel) == place(row, channel) + r D: one register serves a whole tile.
    static SLUICE_DEVICE int place(int row, int channel)
    {
        return row * D + ((channel / 8) ^ (row & 7)) * 8;
    }

    /// Starts to copy rows `first` to `first` + R - 1; zeros from `end` on.
    SLUICE_DEVICE void load(const HeadRows<const BFloat16>& from, int first, int end, bool aligned)
    {
        // A thread copies the same channels of every so many rows: only pointers move.
        constexpr int rows_at_once = attention_threads / (D / 8);
        static_assert(rows_at_once % 8 == 0 && R % rows_at_once == 0);
        const int own_row = thread() / (D / 8), channel = thread() % (D / 8) * 8;
        const int rows_left = end - first - own_row;
        BFloat16* const to = elements + place(own_row, channel);
        const BFloat16* const start = from[rows_left > 0 ? first + own_row : 0] + channel;
        const std::int64_t step = rows_at_once * from.stride;
        if (aligned) {
            const BFloat16* source = start;
            SLUICE_UNROLL
            for (int row = 0; row < R; row += rows_at_once, source += step)
                copy_async_16(to + row * D, source, row < rows_left);
            return;
        }
        for (int row = 0; row < R; row += rows_at_once)
            for (int j = 0; j < 8; ++j)
                to[row * D + j] =
                    row < rows_left ? start[row / rows_at_once * step + j] : BFloat16{0};
    }
};

/// What a lane holds of a warp's 16 M x N sums.
template <int M, int N>
struct WarpSums {
    float at[M][N / 8][4] = {};
    SLUICE_DEVICE auto& operator[](int m) { return at[m]; }
    SLUICE_DEVICE const auto& operator[](int m) const { return at[m]; }
};

/// sums += own[first_own..+16 M] . other[R]^T over D channels.
template <int M, int R, int D, int Own>
SLUICE_DEVICE void multiply_rows(WarpSums<M, R>& sums, const SharedRows<Own, D>& own, int first_own,
                                 const SharedRows<R, D>& other)
{
    const int own_place = own.place(first_own + lane() % 16, lane() / 16 * 8);
    const int other_place = other.place(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2 * 8);
    SLUICE_UNROLL_BY_4 // further, and what is loaded ahead takes registers from the sums
        for (int k = 0; k < D; k += 16)
    {
        std::uint32_t a[M][4];
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            load_matrix_x4(a[m], own.elements + (own_place ^ k) + 16 * m * D);
        SLUICE_UNROLL
        for (int n = 0; n < R; n += 16) {
            std::uint32_t b[4];
            load_matrix_x4(b, other.elements + (other_place ^ k) + n * D);
            SLUICE_UNROLL
            for (int m = 0; m < M; ++m) {
                mma_16x8x16(sums[m][n / 8], a[m], b[0], b[1]);
                mma_16x8x16(sums[m][n / 8 + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/// sums += factors[16 M,R] . other[R,D], the factors rounded to bfloat16.
template <int M, int R, int D>
SLUICE_DEVICE void add_weighted_rows(WarpSums<M, D>& sums, const WarpSums<M, R>& factors,
                                     const SharedRows<R, D>& other)
{
    const int place = other.place(lane() % 16, lane() / 16 * 8);
    SLUICE_UNROLL
    for (int k = 0; k < R; k += 16) {
        std::uint32_t a[M][4];
        SLUICE_UNROLL
        for (int m = 0; m < M; ++m)
            SLUICE_UNROLL
        for (int i = 0; i < 4; ++i) {
            const float(&pair)[4] = factors[m][k / 8 + i / 2];
            a[m][i] = pack_bfloat16(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
        }
        SLUICE_UNROLL
        for (int n = 0; n < D; n += 16) {
            std::uint32_t b[4];
            load_matrix_x4_t(b, other.elements + (place ^ n) + k * D);
            SLUICE_UNROLL
            for (int m = 0; m < M; ++m) {
                mma_16x8x16(sums[m][n / 8], a[m], b[0], b[1]);
                mma_16x8x16(sums[m][n / 8 + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/// Where element i of a lane's four lies in a 16 x 8 tile of sums.
SLUICE_DEVICE int row_of(int i) { return lane() / 4 + i / 2 * 8; }
SLUICE_DEVICE int column_of(int i) { return lane() % 4 * 2 + i % 2; }

/// A number for each of a lane's rows (16 m + r, 16 m + r + 8).
template <int M>
struct OfRows {
    float at[M][2];
    SLUICE_DEVICE auto& operator[](int m) { return at[m]; }
    SLUICE_DEVICE const auto& operator[](int m) const { return at[m]; }
};

template <int M>
SLUICE_DEVICE OfRows<M> all_rows(float value)
{
    OfRows<M> rows;
    SLUICE_UNROLL
    for (int m = 0; m < M; ++m)
        rows[m][0] = rows[m][1] = value;
    return rows;
}

/// Writes a warp's 16 M rows times `factor`, those before `end`.
template <int M, int D>
SLUICE_DEVICE void store_rows(const HeadRows<BFloat16>& to, int first, int end,
                              const WarpSums<M, D>& sums, const OfRows<M>& factor, bool aligned)
{
    SLUICE_UNROLL
    for (int m = 0; m < M; ++m)
        SLUICE_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first + 16 * m + row_of(2 * half);
        if (row >= end)
            continue;
        SLUICE_UNROLL
        for (int n = 0; n < D / 8; ++n) {
            Floats<2> pair;
            pair[0] = sums[m][n][2 * half] * factor[m][half];
            pair[1] = sums[m][n][2 * half + 1] * factor[m][half];
            store_floats<2>(to[row] + 8 * n + column_of(0), pair, 2, aligned);
        }
    }
}

/// The same, rounded, then turned back by the table and rounded again: bits as by a kernel of
/// rotary_kernel.cuh behind this one. A lane holds both channels of a pair. (The loop over rows
/// stands twice: given to both as a function, it makes the query kernel spill.)
template <int M, int D>
SLUICE_DEVICE void store_rows_turned_back(const HeadRows<BFloat16>& to, int first, int end,
                                          const WarpSums<M, D>& sums, float factor,
                                          const float* cosines, const float* sines, bool aligned)
{
    SLUICE_UNROLL
    for (int m = 0; m < M; ++m)
        SLUICE_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first + 16 * m + row_of(2 * half);
        if (row >= end)
            continue;
        const std::int64_t of_table = std::int64_t{row} * (D / 2) + column_of(0);
        SLUICE_UNROLL
        for (int n = 0; n < D / 16; ++n) {
            const Floats<2> cosine = load_floats<2>(cosines + of_table + 8 * n, 2, aligned);
            const Floats<2> sine = load_floats<2>(sines + of_table + 8 * n, 2, aligned);
            const float(&low)[4] = sums[m][n], (&high)[4] = sums[m][n + D / 16];
            const Floats<2> x =
                rounded_to_bfloat16(low[2 * half] * factor, low[2 * half + 1] * factor);
            const Floats<2> y =
                rounded_to_bfloat16(high[2 * half] * factor, high[2 * half + 1] * factor);
            Floats<2> turned_x, turned_y;
            for (int j = 0; j < 2; ++j) {
                turned_x[j] = x[j] * cosine[j] + y[j] * sine[j];
                turned_y[j] = y[j] * cosine[j] - x[j] * sine[j];
            }
            BFloat16* const at = to[row] + 8 * n + column_of(0);
            store_floats<2>(at, turned_x, 2, aligned);
            store_floats<2>(at + D / 2, turned_y, 2, aligned);
        }
    }
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
