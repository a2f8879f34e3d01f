// Token ids in ascending order, equal ones in the order of their positions: a radix sort by eight
// bits at a time, least significant first. Nothing depends on the order in which threads run.
// Tokens outside the vocabulary count as `vocabulary` and so come last.
// Legend: N tokens, of which a block takes a tile.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"

#include <bit>
#include <utility>

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// A token and where it stands.
struct alignas(8) PlacedToken {
    std::int32_t token, position;
};

inline constexpr int digit_bits = 8, num_digits = 1 << digit_bits;

/// What both kernels know of a tile: a warp takes a run of it, 32 tokens at a time, and counts
/// each digit as it goes.
struct TokenTile {
    static constexpr int num_threads = num_digits, num_warps = num_threads / warp_size;
    static constexpr int rounds = 4, run = rounds * warp_size, size = num_warps * run;
    struct Shared {
        int counts[num_warps][num_digits];
        int sum_of_warp[num_warps];
    };

    const std::int32_t* tokens; // [N]; or null, where `sorted` is read
    const PlacedToken* sorted;  // [N] by lower digits
    std::int32_t num_tokens, vocabulary;
    int shift;

    SLUICE_DEVICE PlacedToken at(std::int32_t place) const
    {
        if (tokens == nullptr)
            return sorted[place];
        const std::int32_t token = tokens[place];
        return {token >= 0 && token < vocabulary ? token : vocabulary, place};
    }
    SLUICE_DEVICE int digit_of(std::int32_t token) const
    {
        return token >> shift & (num_digits - 1);
    }

    /// Reads this thread's tokens, one per round; `ranks` counts the same digits before each in the
    /// warp's run. Negative behind the last token. A barrier is due before `counts` is read.
    SLUICE_DEVICE void rank(Shared& shared, PlacedToken (&own)[rounds], int (&ranks)[rounds]) const
    {
        for (int w = 0; w < num_warps; ++w)
            shared.counts[w][thread()] = 0;
        const auto begin = static_cast<std::int32_t>(block_x() * size + warp() * run + lane());
        SLUICE_UNROLL
        for (int i = 0; i < rounds; ++i)
            own[i] = begin + i * warp_size < num_tokens ? at(begin + i * warp_size)
                                                        : PlacedToken{-1, -1};
        barrier();
        int* counts = shared.counts[warp()];
        const unsigned lanes_before = (1U << lane()) - 1;
        SLUICE_UNROLL
        for (int i = 0; i < rounds; ++i) {
            ranks[i] = -1;
            if (begin - lane() + i * warp_size >= num_tokens)
                continue; // the whole warp
            const bool valid = own[i].token >= 0;
            const int digit = digit_of(own[i].token);
            const unsigned same = lanes_with_same(valid ? digit : -1);
            const int before = valid ? counts[digit] : 0;
            warp_barrier(); // before the count changes
            if (valid && (same & lanes_before) == 0)
                counts[digit] = before + count_bits(same);
            warp_barrier(); // before the next round reads it
            if (valid)
                ranks[i] = before + count_bits(same & lanes_before);
        }
    }
};

/// How often each digit occurs in each tile.
struct CountDigitsKernel {
    static constexpr int num_threads = TokenTile::num_threads;
    TokenTile tile;
    std::int32_t* counts; // [tiles,num_digits]

    SLUICE_DEVICE void operator()() const
    {
        auto& shared = shared_memory<TokenTile::Shared>();
        PlacedToken own[TokenTile::rounds];
        int ranks[TokenTile::rounds];
        tile.rank(shared, own, ranks);
        barrier();
        int sum = 0;
        for (const auto& of_warp : shared.counts)
            sum += of_warp[thread()];
        counts[block_x() * num_digits + thread()] = sum;
    }
};

/// Every token to its place: behind all lower digits, and behind the same digit in earlier tiles,
/// in earlier warps of its own tile and in earlier rounds. Thread d looks after digit d.
struct PlaceTokensKernel {
    // Without min_blocks the compiler aims at so few registers that counts are loaded in turns.
    static constexpr int num_threads = TokenTile::num_threads, min_blocks = 2;
    TokenTile tile;
    const std::int32_t* counts; // [tiles,num_digits]
    PlacedToken* out;           // [N]
    int num_tiles;

    /// Over the block's threads, of all before this one.
    SLUICE_DEVICE static int sum_before(TokenTile::Shared& shared, int value)
    {
        int sum = value;
        for (int step = 1; step < warp_size; step *= 2) {
            const int below = shuffle(sum, lane() >= step ? lane() - step : 0);
            sum += lane() >= step ? below : 0;
        }
        if (lane() == warp_size - 1)
            shared.sum_of_warp[warp()] = sum;
        barrier();
        for (int w = 0; w < warp(); ++w)
            sum += shared.sum_of_warp[w];
        return sum - value;
    }

    SLUICE_DEVICE void operator()() const
    {
        auto& shared = shared_memory<TokenTile::Shared>();
        PlacedToken own[TokenTile::rounds];
        int ranks[TokenTile::rounds];
        tile.rank(shared, own, ranks);
        constexpr int at_once = 16;
        int total = 0, in_earlier_tiles = 0;
        for (int first = 0; first < num_tiles; first += at_once) {
            SLUICE_UNROLL
            for (int i = 0; i < at_once; ++i) {
                const int t = first + i;
                const int count = t < num_tiles ? counts[t * num_digits + thread()] : 0;
                total += count;
                in_earlier_tiles += t < block_x() ? count : 0;
            }
        }
        int place = sum_before(shared, total) + in_earlier_tiles; // its barrier: all have counted
        for (auto& of_warp : shared.counts) {
            const int count = of_warp[thread()];
            of_warp[thread()] = place;
            place += count;
        }
        barrier();
        SLUICE_UNROLL
        for (int i = 0; i < TokenTile::rounds; ++i)
            if (ranks[i] >= 0)
                out[shared.counts[warp()][tile.digit_of(own[i].token)] + ranks[i]] = own[i];
    }
};

/// Scratch memory for launch_token_sort.
struct TokenSortMemory {
    PlacedToken* tokens[2];
    std::int32_t* counts;

    static std::int64_t num_tiles(std::int64_t num_tokens)
    {
        return blocks_for(num_tokens, TokenTile::size);
    }
    template <class Launcher>
    static TokenSortMemory take(const Launcher& launcher, std::int64_t num_tokens)
    {
        static_assert(sizeof(PlacedToken) == 2 * sizeof(std::int32_t) && num_digits % 2 == 0);
        auto* memory = launcher.template workspace<PlacedToken>(
            2 * num_tokens + num_tiles(num_tokens) * num_digits / 2);
        void* behind = memory + 2 * num_tokens;
        return {{memory, memory + num_tokens}, static_cast<std::int32_t*>(behind)};
    }
};

/// Returns where the sorted tokens are.
template <class Launcher>
const PlacedToken* launch_token_sort(const Launcher& launcher, const std::int32_t* tokens,
                                     std::int64_t num_tokens, std::int64_t vocabulary,
                                     const TokenSortMemory& memory)
{
    const std::int64_t num_tiles = TokenSortMemory::num_tiles(num_tokens);
    TokenTile tile{.tokens = tokens,
                   .sorted = nullptr,
                   .num_tokens = static_cast<std::int32_t>(num_tokens),
                   .vocabulary = static_cast<std::int32_t>(vocabulary),
                   .shift = 0};
    PlacedToken *to = memory.tokens[0], *other = memory.tokens[1];
    for (const int bits = std::bit_width(static_cast<std::uint32_t>(vocabulary)); tile.shift < bits;
         tile.shift += digit_bits) {
        launcher(CountDigitsKernel{.tile = tile, .counts = memory.counts}, Grid{num_tiles},
                 sizeof(TokenTile::Shared));
        launcher(PlaceTokensKernel{.tile = tile,
                                   .counts = memory.counts,
                                   .out = to,
                                   .num_tiles = static_cast<int>(num_tiles)},
                 Grid{num_tiles}, sizeof(TokenTile::Shared));
        tile.tokens = nullptr;
        tile.sorted = to;
        std::swap(to, other);
    }
    return tile.sorted;
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
