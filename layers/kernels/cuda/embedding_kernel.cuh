// Legend: N tokens, V vocabulary, C channels.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/cuda/token_sort_kernel.cuh"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <limits>

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

/// A warp looks through `places` of the sorted tokens for those where a token begins, and adds the
/// rows of all its occurrences, which follow, to the token's row: several loaded at once, added in
/// order.
///
/// A token that occurs `long_run` times or more is left to other warps, one for every so many
/// places: they come first, and each takes fewer channels and more rows at once, for one after the
/// other they would take longer than all other tokens together. No sum depends on who adds it.
template <class T, class G>
struct EmbeddingBackwardKernel {
    static constexpr int num_threads = 128, num_warps = num_threads / warp_size;
    static constexpr int places = 8, long_run = warp_size;
    static constexpr int short_width = chunk, long_width = 4 / sizeof(T); // channels of a lane
    static constexpr int short_slab = short_width * warp_size, long_slab = long_width * warp_size;

    const PlacedToken* sorted; // [N]
    const T* dout;             // [N,C]
    G* table_gradient;         // [V,C]
    std::int32_t num_tokens, vocabulary;
    std::int64_t channels, long_blocks;
    int short_slabs, long_slabs; // of a row
    bool aligned;

    SLUICE_DEVICE PlacedToken at(std::int32_t place) const
    {
        return place >= 0 && place < num_tokens ? sorted[place] : PlacedToken{-1, 0};
    }

    /// Adds the rows at the first `count` lanes' `position` to `sum`, in the lanes' order.
    template <bool vectors, int at_once, int width>
    SLUICE_DEVICE void add_rows(Floats<width>& sum, std::int64_t c, std::int32_t position,
                                int count) const
    {
        for (int first = 0; first < count; first += at_once) {
            Vector<T, width> rows[at_once];
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i) {
                const std::int64_t n = shuffle(position, (first + i) % warp_size);
                if (first + i < count)
                    rows[i] = load_elements<vectors, width>(dout + n * channels + c, channels - c);
            }
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i)
                if (first + i < count)
                    for (int j = 0; j < width; ++j)
                        sum[j] += to_float(rows[i].at[j]);
        }
    }

    /// All rows of `token`, which begins at `begin`, where the warp's lanes read `own`; for
    /// channels from `c` on.
    template <bool vectors, int at_once, int width>
    SLUICE_DEVICE void add_run(std::int32_t token, std::int32_t begin, PlacedToken own,
                               std::int64_t c) const
    {
        const bool inside = c < channels;
        const std::int64_t count = channels - c, from = inside ? c : 0; // all lanes go along
        G* row = table_gradient + token * channels + from;
        Floats<width> sum{};
        if (inside) // the rest point to what another warp may be writing
            sum = floats_of(load_elements<vectors, width>(row, count));
        for (;;) {
            const int num_rows = count_bits(ballot(own.token == token));
            const std::int32_t position = own.position;
            begin += warp_size;
            if (num_rows == warp_size)
                own = at(begin + lane()); // on its way while the rows are added
            add_rows<vectors, at_once>(sum, from, position, num_rows);
            if (num_rows < warp_size)
                break;
        }
        if (inside)
            store_elements<vectors>(row, sum, count);
    }

    SLUICE_DEVICE void short_runs(std::int64_t item) const
    {
        const auto first = static_cast<std::int32_t>(item / short_slabs) * places;
        if (first >= num_tokens)
            return;
        const std::int64_t c = item % short_slabs * short_slab + lane() * short_width;
        const std::int32_t place = first + lane(), own = at(place).token;
        unsigned starts = ballot(lane() < places && place < num_tokens && own != vocabulary &&
                                 at(place - 1).token != own);
        for (; starts != 0; starts &= starts - 1) {
            const std::int32_t begin = first + lowest_bit(starts);
            const std::int32_t token = shuffle(own, lowest_bit(starts));
            const PlacedToken run = at(begin + lane());
            if (ballot(run.token == token) == ~0U)
                continue; // a long one
            if (aligned)
                add_run<true, 4, short_width>(token, begin, run, c);
            else
                add_run<false, 1, short_width>(token, begin, run, c);
        }
    }

    /// A long run contains a place that `long_run` divides. Its first one has the run.
    SLUICE_DEVICE void long_runs(std::int64_t item) const
    {
        const auto place = static_cast<std::int32_t>(item / long_slabs) * long_run;
        if (place >= num_tokens)
            return;
        const std::int32_t token = at(place).token;
        if (token == vocabulary || at(place - long_run).token == token)
            return;
        const std::int32_t before = place - (long_run - 1);
        const std::int32_t begin = before + lowest_bit(ballot(at(before + lane()).token == token));
        const PlacedToken run = at(begin + lane());
        if (ballot(run.token == token) != ~0U)
            return; // a short one
        const std::int64_t c = item % long_slabs * long_slab + lane() * long_width;
        if (aligned)
            add_run<true, long_run, long_width>(token, begin, run, c);
        else
            add_run<false, 1, long_width>(token, begin, run, c);
    }

    SLUICE_DEVICE void operator()() const
    {
        if (block_x() < long_blocks)
            long_runs(block_x() * num_warps + warp());
        else
            short_runs((block_x() - long_blocks) * num_warps + warp());
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

/// So many tokens at a time are sorted, which bounds the memory that takes: 2 MiB and a bit.
inline constexpr std::int64_t tokens_sorted_at_once = 1 << 17;

template <class Launcher>
void launch_embedding(const Launcher& launcher, const EmbeddingBackward& op)
{
    const EmbeddingExtents e = extents_of(op);
    SLUICE_CHECK(e.vocabulary < std::numeric_limits<std::int32_t>::max(),
                 "vocabulary " << e.vocabulary);
    const auto memory = TokenSortMemory::take(launcher, std::min(e.tokens, tokens_sorted_at_once));
    const auto add = [&]<class T, class G>(Type<T>, Type<G>, std::int64_t first,
                                           const PlacedToken* sorted, std::int64_t num_tokens) {
        using Kernel = EmbeddingBackwardKernel<T, G>;
        const std::int64_t short_slabs = blocks_for(e.channels, Kernel::short_slab);
        const std::int64_t long_slabs = blocks_for(e.channels, Kernel::long_slab);
        const std::int64_t long_blocks =
            blocks_for(blocks_for(num_tokens, Kernel::long_run) * long_slabs, Kernel::num_warps);
        launcher(Kernel{.sorted = sorted,
                        .dout = op.dout.as<T>() + first * e.channels,
                        .table_gradient = op.table_gradient.as<G>(),
                        .num_tokens = static_cast<std::int32_t>(num_tokens),
                        .vocabulary = static_cast<std::int32_t>(e.vocabulary),
                        .channels = e.channels,
                        .long_blocks = long_blocks,
                        .short_slabs = static_cast<int>(short_slabs),
                        .long_slabs = static_cast<int>(long_slabs),
                        .aligned = chunks_aligned(e.channels, op.dout, op.table_gradient)},
                 Grid{long_blocks + blocks_for(blocks_for(num_tokens, Kernel::places) * short_slabs,
                                               Kernel::num_warps)});
    };
    for (std::int64_t first = 0; first < e.tokens; first += tokens_sorted_at_once) {
        const std::int64_t num_tokens = std::min(e.tokens - first, tokens_sorted_at_once);
        const PlacedToken* sorted = launch_token_sort(
            launcher, op.tokens.as<std::int32_t>() + first, num_tokens, e.vocabulary, memory);
        with_type_of(op.dout, [&]<class T>(Type<T> rows) {
            with_type_of(op.table_gradient, [&]<class G>(Type<G> table) {
                add(rows, table, first, sorted, num_tokens);
            });
        });
    }
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
