// Attention on tensor cores: tiles of rows in shared memory, and the two products that all three
// kernels are made of. A warp owns 16 rows ("own": queries, or keys); blocks walk over tiles of the
// others ("other").
// Legend: D channels of a head (64 or 128), R rows of the other tile.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int attention_threads = 128;
inline constexpr int rows_of_warp = 16;
inline constexpr int own_rows = attention_threads / warp_size * rows_of_warp; // of a block
inline constexpr float log2_of_e = 1.4426950408889634F;
inline constexpr float ln_2 = 0.6931471805599453F;

/// Rows of one head inside [B,T,3,H,D] or [B,T,H,D].
template <class T>
struct HeadRows {
    T* first; // [D] at position 0
    std::int64_t stride;
    SLUICE_DEVICE T* operator[](std::int64_t position) const { return first + position * stride; }
};

/// Which head and which tile of rows a block works on. Blocks with the most work come first.
struct Tile {
    std::int64_t sequence, head, first_row;
};

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
    const T *dout, *qkv;              // [B,T,H,D], [B,T,3,H,D]
    const float *logsumexp, *row_dot; // [B,H,T]
    T* qkv_gradient;                  // [B,T,3,H,D]
    AttentionExtents e;
    std::int64_t num_tiles;
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
            .logsumexp = op.logsumexp.as<float>(),
            .row_dot = op.row_dot.as<float>(),
            .qkv_gradient = op.qkv_gradient.as<T>(),
            .e = e,
            .num_tiles = blocks_for(e.positions, rows_of_block),
            .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(e.head_dim))),
            .aligned = chunks_aligned(e.head_dim, op.dout, op.qkv, op.qkv_gradient)};
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
    SLUICE_DEVICE void load(const HeadRows<const BFloat16>& from, std::int64_t first,
                            std::int64_t end, bool aligned)
    {
        for (int i = thread(); i < R * D / 8; i += attention_threads) {
            const int row = i / (D / 8), channel = i % (D / 8) * 8;
            const bool wanted = first + row < end;
            const BFloat16* source = from[wanted ? first + row : 0] + channel;
            BFloat16* to = elements + place(row, channel);
            if (aligned)
                copy_async_16(to, source, wanted);
            else
                for (int j = 0; j < 8; ++j)
                    to[j] = wanted ? source[j] : BFloat16{0};
        }
    }
};

/// sums[R/8][4] += own[first_own..+16] . other[R]^T over D channels.
template <int R, int D, int Own>
SLUICE_DEVICE void multiply_rows(float (&sums)[R / 8][4], const SharedRows<Own, D>& own,
                                 int first_own, const SharedRows<R, D>& other)
{
    const int own_place = own.place(first_own + lane() % 16, lane() / 16 * 8);
    const int other_place = other.place(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2 * 8);
    SLUICE_UNROLL_BY_4 // further, and what is loaded ahead takes registers from the sums
        for (int k = 0; k < D; k += 16)
    {
        std::uint32_t a[4];
        load_matrix_x4(a, own.elements + (own_place ^ k));
        SLUICE_UNROLL
        for (int n = 0; n < R; n += 16) {
            std::uint32_t b[4];
            load_matrix_x4(b, other.elements + (other_place ^ k) + n * D);
            mma_16x8x16(sums[n / 8], a, b[0], b[1]);
            mma_16x8x16(sums[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

/// sums[D/8][4] += factors[16,R] . other[R,D], the factors rounded to bfloat16.
template <int R, int D>
SLUICE_DEVICE void add_weighted_rows(float (&sums)[D / 8][4], const float (&factors)[R / 8][4],
                                     const SharedRows<R, D>& other)
{
    const int place = other.place(lane() % 16, lane() / 16 * 8);
    SLUICE_UNROLL
    for (int k = 0; k < R; k += 16) {
        const float(&low)[4] = factors[k / 8];
        const float(&high)[4] = factors[k / 8 + 1];
        const std::uint32_t a[4] = {pack_bfloat16(low[0], low[1]), pack_bfloat16(low[2], low[3]),
                                    pack_bfloat16(high[0], high[1]),
                                    pack_bfloat16(high[2], high[3])};
        SLUICE_UNROLL
        for (int n = 0; n < D; n += 16) {
            std::uint32_t b[4];
            load_matrix_x4_t(b, other.elements + (place ^ n) + k * D);
            mma_16x8x16(sums[n / 8], a, b[0], b[1]);
            mma_16x8x16(sums[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

/// Where element i of a lane's four lies in a 16 x 8 tile of sums.
SLUICE_DEVICE int row_of(int i) { return lane() / 4 + i / 2 * 8; }
SLUICE_DEVICE int column_of(int i) { return lane() % 4 * 2 + i % 2; }

/// Writes a warp's 16 rows times `factor[row in 8s]`, those before `end`.
template <int D>
SLUICE_DEVICE void store_rows(const HeadRows<BFloat16>& to, std::int64_t first, std::int64_t end,
                              const float (&sums)[D / 8][4], const float (&factor)[2], bool aligned)
{
    SLUICE_UNROLL
    for (int half = 0; half < 2; ++half) {
        const std::int64_t row = first + row_of(2 * half);
        if (row >= end)
            continue;
        SLUICE_UNROLL
        for (int n = 0; n < D / 8; ++n) {
            Floats<2> pair;
            pair[0] = sums[n][2 * half] * factor[half];
            pair[1] = sums[n][2 * half + 1] * factor[half];
            store_floats<2>(to[row] + 8 * n + column_of(0), pair, 2, aligned);
        }
    }
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
