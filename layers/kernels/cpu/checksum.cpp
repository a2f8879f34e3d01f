#include "core/parallel.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace sluice::kernels {

namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

/// Four words at a time, in the compiler's portable vector types.
constexpr std::int64_t words_at_once = 4;
using Words = std::uint64_t __attribute__((vector_size(words_at_once * sizeof(std::uint64_t))));

constexpr Words first_steps()
{
    Words steps{};
    for (int i = 0; i < words_at_once; ++i)
        steps[i] = static_cast<std::uint64_t>(i + 1) * checksum_step;
    return steps;
}

/// Words [first, last) of `bytes`, of which there are `num_bytes`.
std::uint64_t sum_of_terms(const std::byte* bytes, std::int64_t first, std::int64_t last,
                           std::int64_t num_bytes)
{
    constexpr std::int64_t word_bytes = sizeof(std::uint64_t);
    Words sums{};
    Words steps = first_steps() + static_cast<std::uint64_t>(first) * checksum_step;
    const std::int64_t whole = std::min(last, num_bytes / word_bytes);
    std::int64_t i = first;
    for (; i + words_at_once <= whole; i += words_at_once) {
        Words words;
        std::memcpy(&words, bytes + i * word_bytes, sizeof words);
        sums += checksum_term(words + steps);
        steps += words_at_once * checksum_step;
    }
    std::uint64_t sum = 0;
    for (; i < last; ++i) {
        std::uint64_t word = 0;
        const std::int64_t rest = std::min(word_bytes, num_bytes - i * word_bytes);
        std::memcpy(&word, bytes + i * word_bytes, static_cast<std::size_t>(rest));
        sum += checksum_term(word + (static_cast<std::uint64_t>(i) + 1) * checksum_step);
    }
    for (int lane = 0; lane < words_at_once; ++lane)
        sum += sums[lane];
    return sum;
}

} // namespace

void run(Cpu, const Checksum& op)
{
    constexpr std::int64_t max_parts = 256, min_part = 8192; // words: 64 KiB
    const auto* const bytes = static_cast<const std::byte*>(op.x.data);
    const auto num_bytes = static_cast<std::int64_t>(op.x.num_bytes());
    const std::int64_t all_words = (num_bytes + 7) / 8;
    const std::int64_t part = std::max(min_part, (all_words + max_parts - 1) / max_parts);
    const std::int64_t num_parts = (all_words + part - 1) / part;
    std::array<std::uint64_t, max_parts> parts;
    parallel_for(num_parts, [&](std::int64_t i) {
        parts[static_cast<std::size_t>(i)] =
            sum_of_terms(bytes, i * part, std::min(all_words, (i + 1) * part), num_bytes);
    });
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < num_parts; ++i)
        sum += parts[static_cast<std::size_t>(i)];
    *op.result.as<double>() = static_cast<double>(sum & checksum_mask);
}

} // namespace sluice::kernels
