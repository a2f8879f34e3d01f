// What a thread holds of a row while all of it is looked at.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"

#include <bit>
#include <type_traits>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// How many of them a kernel is made for.
template <int chunks>
using NumChunks = std::integral_constant<int, chunks>;

/// What stands behind a row's end.
enum class Outside : std::uint32_t { zero = 0, minus_infinity = 0xff800000U };

/// A thread's chunks of a row, `step` elements apart: in registers, as words as they lie in memory
/// or, where they are not `vectors` (aligned, and whole), read anew each time, for single elements
/// would take too many registers.
template <class T, int chunks, bool vectors, Outside outside = Outside::zero>
struct RowChunks {
    static constexpr int num_words = chunk * sizeof(T) / 4;
    Vector<std::uint32_t, num_words> of[chunks];

    /// `from`: the first chunk, `count` elements before the row's end.
    SLUICE_DEVICE void load(const T* from, std::int64_t count, int step)
    {
        constexpr auto bits = static_cast<std::uint32_t>(outside);
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k)
            if (k * step < count)
                of[k] =
                    load_vector<num_words>(reinterpret_cast<const std::uint32_t*>(from + k * step));
            else
                for (std::uint32_t& word : of[k].at)
                    word = sizeof(T) == 4 ? bits : bits | bits >> 16;
    }
    SLUICE_DEVICE float at(int k, int j) const
    {
        if constexpr (sizeof(T) == 4)
            return std::bit_cast<float>(of[k].at[j]);
        const std::uint32_t pair = of[k].at[j / 2];
        return std::bit_cast<float>(j % 2 == 0 ? pair << 16 : pair & 0xffff0000U);
    }
    /// What was computed from the elements so far takes no more registers.
    SLUICE_DEVICE void keep_only_words()
    {
        for (auto& vector : of)
            for (std::uint32_t& word : vector.at)
                keep_only(word);
    }
};

template <class T, int chunks, Outside outside>
struct RowChunks<T, chunks, false, outside> {
    const T* from;
    std::int64_t count;
    std::int64_t step;

    SLUICE_DEVICE void load(const T* first, std::int64_t num_elements, int distance)
    {
        from = first;
        count = num_elements;
        step = distance;
    }
    SLUICE_DEVICE float at(int k, int j) const
    {
        return k * step + j < count ? to_float(from[k * step + j]) : std::bit_cast<float>(outside);
    }
    SLUICE_DEVICE void keep_only_words()
    {
        keep_only(from);
        keep_only_off_sm_90(step); // multiples of it
    }
};

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
