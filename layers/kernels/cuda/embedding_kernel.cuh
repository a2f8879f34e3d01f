// Legend: N tokens, V vocabulary, C channels.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// A chunk of a row per thread. A token outside the vocabulary gives NaNs: the host cannot look at
/// tokens on the GPU, but every update looks for NaNs.
template <class T>
struct EmbeddingForwardKernel {
    static constexpr int num_threads = 256;
    const std::int32_t* tokens; // [N]
    const T* table;             // [V,C]
    T* out;                     // [N,C]
    std::int64_t num_tokens, vocabulary, channels, chunks_per_row;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t item = block_x() * num_threads + thread();
        const std::int64_t n = item / chunks_per_row, c = item % chunks_per_row * chunk;
        if (n >= num_tokens)
            return;
        const std::int64_t count = channels - c, token = tokens[n];
        Floats<chunk> row;
        if (token >= 0 && token < vocabulary)
            row = load_floats<chunk>(table + token * channels + c, count, aligned);
        else
            for (int j = 0; j < chunk; ++j)
                row[j] = NAN;
        store_floats(out + n * channels + c, row, count, aligned);
    }
};

/// A block per token and slab of channels. The block of a token's first occurrence owns its row of
/// the table: it finds the later occurrences and adds them in order; all other blocks leave. No
/// atomics, no sorting; the price is to look at up to N tokens per block, in the second cache.
template <class T, class G>
struct EmbeddingBackwardKernel {
    static constexpr int num_threads = 128;
    static constexpr std::int64_t slab = num_threads * chunk; // channels per block
    struct Shared {
        unsigned matches[num_threads / warp_size]; // bit l of entry w: thread 32 w + l has a match
    };

    const std::int32_t* tokens; // [N]
    const T* dout;              // [N,C]
    G* table_gradient;          // [V,C]
    std::int64_t num_tokens, vocabulary, channels;
    bool aligned;

    SLUICE_DEVICE bool occurs_before(std::int64_t n, std::int32_t token) const
    {
        for (std::int64_t begin = 0; begin < n; begin += num_threads) {
            const std::int64_t m = begin + thread();
            if (any_in_block(m < n && tokens[m] == token))
                return true;
        }
        return false;
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        const std::int64_t first = block_x();
        const std::int32_t token = tokens[first];
        if (token < 0 || token >= vocabulary || occurs_before(first, token))
            return;
        const std::int64_t c = block_y() * slab + thread() * chunk, count = channels - c;
        G* at = table_gradient + token * channels + c;
        Floats<chunk> sum{};
        if (count > 0)
            sum = load_floats<chunk>(at, count, aligned);
        for (std::int64_t begin = first; begin < num_tokens; begin += num_threads) {
            const std::int64_t m = begin + thread();
            const unsigned matches = ballot(m < num_tokens && tokens[m] == token);
            if (lane() == 0)
                shared.matches[warp()] = matches;
            barrier();
            for (int w = 0; w < num_threads / warp_size; ++w)
                for (unsigned left = shared.matches[w]; left != 0; left &= left - 1) {
                    const std::int64_t n = begin + w * warp_size + lowest_bit(left);
                    if (count <= 0)
                        continue;
                    const Floats<chunk> row =
                        load_floats<chunk>(dout + n * channels + c, count, aligned);
                    for (int j = 0; j < chunk; ++j)
                        sum[j] += row[j];
                }
            barrier(); // before `matches` is overwritten
        }
        if (count > 0)
            store_floats(at, sum, count, aligned);
    }
};

template <class Launcher>
void launch_embedding(const Launcher& launcher, const EmbeddingForward& op)
{
    const EmbeddingExtents e = extents_of(op);
    const std::int64_t chunks_per_row = blocks_for(e.channels, chunk);
    with_type_of(op.table, [&]<class T>(Type<T>) {
        launcher(EmbeddingForwardKernel<T>{.tokens = op.tokens.as<std::int32_t>(),
                                           .table = op.table.as<T>(),
                                           .out = op.out.as<T>(),
                                           .num_tokens = e.tokens,
                                           .vocabulary = e.vocabulary,
                                           .channels = e.channels,
                                           .chunks_per_row = chunks_per_row,
                                           .aligned = chunks_aligned(e.channels, op.table, op.out)},
                 Grid{blocks_for(e.tokens * chunks_per_row, 256)});
    });
}

template <class Launcher>
void launch_embedding(const Launcher& launcher, const EmbeddingBackward& op)
{
    const EmbeddingExtents e = extents_of(op);
    with_type_of(op.dout, [&]<class T>(Type<T>) {
        with_type_of(op.table_gradient, [&]<class G>(Type<G>) {
            using Kernel = EmbeddingBackwardKernel<T, G>;
            launcher(Kernel{.tokens = op.tokens.as<std::int32_t>(),
                            .dout = op.dout.as<T>(),
                            .table_gradient = op.table_gradient.as<G>(),
                            .num_tokens = e.tokens,
                            .vocabulary = e.vocabulary,
                            .channels = e.channels,
                            .aligned = chunks_aligned(e.channels, op.dout, op.table_gradient)},
                     Grid{e.tokens, blocks_for(e.channels, Kernel::slab)},
                     sizeof(typename Kernel::Shared));
        });
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
