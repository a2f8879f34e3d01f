// Two steps: every block adds the terms of its run of words, then one block adds the parts. Whole
// numbers, so the order is free.
#pragma once

#include "layers/kernels/cuda/block_sum.cuh"
#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int checksum_loads = 4; // of a thread, at once
inline constexpr int words_per_load = 2; // 16 bytes

using Words = Vector<std::uint64_t, words_per_load>;

struct ChecksumKernel {
    static constexpr int num_threads = sum_threads;
    const void* x;                      // [num_bytes]
    std::uint64_t* parts;               // [blocks]
    std::int64_t num_bytes, run_length; // of a block, in words
    bool aligned;                       // x, to 16 bytes

    SLUICE_DEVICE static std::uint64_t term_of(std::uint64_t word, std::int64_t place)
    {
        return checksum_term(word + static_cast<std::uint64_t>(place + 1) * checksum_step);
    }

    SLUICE_DEVICE static std::uint64_t terms_of(const Words& words, std::int64_t place)
    {
        std::uint64_t sum = 0;
        for (int j = 0; j < words_per_load; ++j)
            sum += term_of(words.at[j], place + j);
        return sum;
    }

    /// Byte by byte, zeros behind the end.
    SLUICE_DEVICE std::uint64_t gathered(std::int64_t place) const
    {
        std::uint64_t word = 0;
        for (int i = 0; i < 8; ++i)
            if (place * 8 + i < num_bytes)
                word |= std::uint64_t{static_cast<const unsigned char*>(x)[place * 8 + i]}
                        << (8 * i);
        return word;
    }

    SLUICE_DEVICE void operator()() const
    {
        constexpr int at_once = checksum_loads, stride = num_threads * words_per_load;
        const auto* const words = static_cast<const std::uint64_t*>(x); // read where aligned alone
        const std::int64_t num_words = (num_bytes + 7) / 8;
        const std::int64_t begin = block_x() * run_length;
        const std::int64_t end = begin + run_length < num_words ? begin + run_length : num_words;
        const std::int64_t whole = !aligned ? begin : end < num_bytes / 8 ? end : num_bytes / 8;
        std::uint64_t sum = 0;
        std::int64_t i = begin + thread() * words_per_load;
        for (; i + (at_once - 1) * stride + words_per_load <= whole; i += at_once * stride) {
            Words loaded[at_once];
            SLUICE_UNROLL
            for (int k = 0; k < at_once; ++k)
                loaded[k] = load_vector<words_per_load>(words + i + k * stride);
            SLUICE_UNROLL
            for (int k = 0; k < at_once; ++k)
                sum += terms_of(loaded[k], i + k * stride);
        }
        for (; i + words_per_load <= whole; i += stride)
            sum += terms_of(load_vector<words_per_load>(words + i), i);
        for (; i < end; i += stride)
            for (std::int64_t place = i; place < i + words_per_load && place < end; ++place)
                sum += term_of(gathered(place), place);
        const std::uint64_t total = block_sum(sum);
        if (thread() == 0)
            parts[block_x()] = total;
    }
};

struct ChecksumOfPartsKernel {
    static constexpr int num_threads = sum_threads;
    const std::uint64_t* parts; // [num_parts]
    double* result;             // [1]
    std::int64_t num_parts;

    SLUICE_DEVICE void operator()() const
    {
        const std::uint64_t sum = sum_of_parts(parts, num_parts);
        if (thread() == 0)
            result[0] = static_cast<double>(sum & checksum_mask);
    }
};

template <class Launcher>
void launch_checksum(const Launcher& launcher, const Checksum& op)
{
    const auto num_bytes = static_cast<std::int64_t>(op.x.num_bytes());
    const std::int64_t num_words = blocks_for(num_bytes, 8);
    const std::int64_t pass = std::int64_t{sum_threads} * checksum_loads * words_per_load;
    const std::int64_t run_length =
        std::max<std::int64_t>(1, blocks_for(blocks_for(num_words, max_sum_parts), pass)) * pass;
    const std::int64_t num_parts = blocks_for(num_words, run_length);
    auto* parts = launcher.template workspace<std::uint64_t>(max_sum_parts);
    constexpr std::size_t shared_bytes = sizeof(SumsOfWarps<std::uint64_t>);
    launcher(
        ChecksumKernel{.x = op.x.data,
                       .parts = parts,
                       .num_bytes = num_bytes,
                       .run_length = run_length,
                       .aligned = std::bit_cast<std::uintptr_t>(op.x.data) % sizeof(Words) == 0},
        Grid{num_parts}, shared_bytes);
    launcher(ChecksumOfPartsKernel{.parts = parts,
                                   .result = op.result.as<double>(),
                                   .num_parts = num_parts},
             Grid{1}, shared_bytes);
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
