// How rows lie in the registers of a block's warps: one to eight warps hold a row, a lane holds
// `chunks` chunks of it, a row's lanes apart.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

struct NormRows {
    static constexpr int num_warps = 8;
    /// By turns, so that one barrier per row is enough.
    struct Sums {
        float of_warp[2][num_warps];
    };

    int warps_per_row, chunks;

    /// As few warps as leave at most `max_chunks` chunks per lane; `chunks` is 0 where eight are
    /// not enough.
    static NormRows for_channels(std::int64_t channels, int max_chunks)
    {
        for (int warps = 1; warps <= num_warps; warps *= 2) {
            const std::int64_t chunks =
                blocks_for(channels, std::int64_t{warps} * warp_size * chunk);
            if (chunks <= max_chunks)
                return {warps, static_cast<int>(chunks)};
        }
        return {num_warps, 0};
    }

    SLUICE_DEVICE int lanes() const { return warps_per_row * warp_size; }
    SLUICE_DEVICE int num_groups() const { return num_warps / warps_per_row; }
    SLUICE_DEVICE int group() const { return warp() / warps_per_row; }
    SLUICE_DEVICE int lane_of_row() const { return thread() % lanes(); }
    SLUICE_DEVICE std::int64_t channel(int k) const
    {
        return (std::int64_t{k} * lanes() + lane_of_row()) * chunk;
    }
    std::int64_t padded_channels() const
    {
        return std::int64_t{chunks} * warps_per_row * warp_size * chunk;
    }

    /// Over the whole row, on all of its lanes. The whole block comes here.
    SLUICE_DEVICE float row_sum(Sums& sums, const Floats<chunk>& own, int turn) const
    {
        const float sum = warp_sum(((own[0] + own[1]) + (own[2] + own[3])) +
                                   ((own[4] + own[5]) + (own[6] + own[7])));
        if (warps_per_row == 1)
            return sum;
        if (lane() == 0)
            sums.of_warp[turn][warp()] = sum;
        barrier(); // of all warps' sums
        float total = 0.0F;
        for (int w = 0; w < warps_per_row; ++w)
            total += sums.of_warp[turn][group() * warps_per_row + w];
        return total;
    }
};

/// A lane's chunks of a row, zeros behind its end: in registers, as words as they lie in memory or,
/// where they are not `vectors`, read anew each time, for single elements would take too many.
template <class T, int chunks, bool vectors>
struct NormChunks {
    static constexpr int num_words = chunk * sizeof(T) / 4;
    Vector<std::uint32_t, num_words> of[chunks];

    SLUICE_DEVICE void load(const T* row, std::int64_t channels, const NormRows& layout)
    {
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k)
            if (layout.channel(k) < channels)
                of[k] = load_vector<num_words>(
                    reinterpret_cast<const std::uint32_t*>(row + layout.channel(k)));
    }
    SLUICE_DEVICE float at(int k, int j) const
    {
        if constexpr (sizeof(T) == 4)
            return std::bit_cast<float>(of[k].at[j]);
        const std::uint32_t pair = of[k].at[j / 2];
        return std::bit_cast<float>(j % 2 == 0 ? pair << 16 : pair & 0xffff0000U);
    }
    SLUICE_DEVICE void keep_only_words()
    {
        for (auto& vector : of)
            for (std::uint32_t& word : vector.at)
                keep_only(word);
    }
};

template <class T, int chunks>
struct NormChunks<T, chunks, false> {
    const T* from; // this lane's first element
    std::int64_t count, step;

    SLUICE_DEVICE void load(const T* row, std::int64_t channels, const NormRows& layout)
    {
        from = row + layout.channel(0);
        count = channels - layout.channel(0);
        step = layout.channel(1) - layout.channel(0);
    }
    SLUICE_DEVICE float at(int k, int j) const
    {
        return k * step + j < count ? to_float(from[k * step + j]) : 0.0F;
    }
    SLUICE_DEVICE void keep_only_words() { keep_only(from); }
};

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
