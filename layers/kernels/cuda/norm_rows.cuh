// How rows lie in the registers of a block's warps: one to eight warps hold a row, a lane holds
// `chunks` chunks of it, a row's lanes apart.
#pragma once

#include "layers/kernels/cuda/row_chunks.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

struct NormRows {
    static constexpr int num_warps = 8;
    /// By turns, so that one barrier per row is enough.
    struct Sums {
        float of_warp[2][num_warps];
    };

    int log2_warps_per_row; ///< a runtime number, so dividing by the warps would take 30
                            ///< instructions
    int chunks;

    /// As few warps as leave at most `max_chunks` chunks per lane; `chunks` is 0 where eight are
    /// not enough.
    static NormRows for_channels(std::int64_t channels, int max_chunks)
    {
        for (int log2_warps = 0; 1 << log2_warps <= num_warps; ++log2_warps) {
            const std::int64_t chunks =
                blocks_for(channels, std::int64_t{warp_size * chunk} << log2_warps);
            if (chunks <= max_chunks)
                return {log2_warps, static_cast<int>(chunks)};
        }
        return {0, 0};
    }

    std::int64_t rows_of_block() const { return num_warps >> log2_warps_per_row; }
    std::int64_t padded_channels() const
    {
        return std::int64_t{chunks * warp_size * chunk} << log2_warps_per_row;
    }

    SLUICE_DEVICE int lanes() const { return warp_size << log2_warps_per_row; }
    SLUICE_DEVICE int num_groups() const { return num_warps >> log2_warps_per_row; }
    SLUICE_DEVICE int group() const { return warp() >> log2_warps_per_row; }
    SLUICE_DEVICE int lane_of_row() const { return thread() & (lanes() - 1); }
    SLUICE_DEVICE std::int64_t channel(int k) const
    {
        return (std::int64_t{k} * lanes() + lane_of_row()) * chunk;
    }
    /// Of a row: this lane's.
    template <class T, int chunks, bool vectors>
    SLUICE_DEVICE void load(RowChunks<T, chunks, vectors>& to, const T* row,
                            std::int64_t channels) const
    {
        to.load(row + channel(0), channels - channel(0), lanes() * chunk);
    }

    /// Over the whole row, on all of its lanes. The whole block comes here.
    SLUICE_DEVICE float row_sum(Sums& sums, const Floats<chunk>& own, int turn) const
    {
        const float sum = warp_sum(chunk_sum(own));
        if (log2_warps_per_row == 0)
            return sum;
        if (lane() == 0)
            sums.of_warp[turn][warp()] = sum;
        barrier(); // of all warps' sums
        float total = 0.0F;
        const int first = group() << log2_warps_per_row;
        for (int w = 0; w < 1 << log2_warps_per_row; ++w)
            total += sums.of_warp[turn][first + w];
        return total;
    }
};

template <class T>
inline constexpr int max_norm_chunks = sizeof(T) == 2 ? 3 : 2; // in registers, per lane

template <class T, class F>
void with_chunks(int chunks, F&& f)
{
    if (chunks == 1)
        return f(NumChunks<1>{});
    if (chunks == 2)
        return f(NumChunks<2>{});
    if constexpr (max_norm_chunks<T> == 3)
        f(NumChunks<3>{});
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
