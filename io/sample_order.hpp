// Which tokens update N trains on: the one place where this arithmetic is written down.
//
// A token file is one stream of `num_tokens` tokens. Window w of sequences of S tokens covers
// tokens [w S, w S + S]: inputs are the first S of them, targets the last S, so that the target of
// a window's last input is the next window's first token. Every token except the stream's first,
// and a remainder shorter than S at its end, is a target exactly once per epoch.
//
// Training counts samples globally from 0 and never forgets the count. With G = global batch size
// and M = micro-batch size, in sequences:
//
//     batch N (counted from 1)    is samples (N-1) G, ..., N G - 1
//     its micro-batch m           the m-th run of M of them: (N-1) G + m M, ...
//     update N (counted from 1)   trains on batch N, or, where batches were skipped, on the N-th
//                                 one that was not (skipped_batches.hpp)
//     sample g                    is in epoch g / num_windows, at place g mod num_windows
//     its window                  is what the epoch's permutation puts at that place
//
// Nothing else enters: not ranks, stages, threads, nor when a run was stopped and resumed.
#pragma once

#include <array>
#include <cstdint>

namespace sluice {

/// Windows in a stream of `num_tokens` tokens; 0 when there are not even seq_len + 1.
constexpr std::uint64_t num_windows_of(std::uint64_t num_tokens, std::uint64_t seq_len)
{
    return num_tokens == 0 ? 0 : (num_tokens - 1) / seq_len;
}

/// First global sample of batch `batch` (counted from 1).
constexpr std::uint64_t first_sample_of_batch(std::int64_t batch, std::int64_t global_batch_size)
{
    return static_cast<std::uint64_t>(batch - 1) * static_cast<std::uint64_t>(global_batch_size);
}

/// First global sample of micro-batch `microbatch` (counted from 0) of batch `batch`.
constexpr std::uint64_t first_sample_of_microbatch(std::int64_t batch, std::int64_t microbatch,
                                                   std::int64_t global_batch_size,
                                                   std::int64_t micro_batch_size)
{
    return first_sample_of_batch(batch, global_batch_size) +
           static_cast<std::uint64_t>(microbatch) * static_cast<std::uint64_t>(micro_batch_size);
}

/// Shuffles all windows anew in every epoch, in constant memory: a keyed permutation evaluated at
/// one place. The permutation is a Feistel network over the numbers below a b >= num_windows (a, b
/// near the square root) with Philox as round function; numbers that fall outside are sent through
/// it again until they fall inside ("cycle walking": Black and Rogaway, "Ciphers with arbitrary
/// finite domains", CT-RSA 2002, methods 2 and 3).
class SampleOrder {
public:
    /// num_windows >= 1.
    SampleOrder(std::uint64_t seed, std::uint64_t num_windows);

    /// The window that global sample `sample` trains on.
    std::uint64_t window_of(std::uint64_t sample) const;

    std::uint64_t num_windows() const { return num_windows_; }
    std::uint64_t epoch_of(std::uint64_t sample) const { return sample / num_windows_; }

private:
    std::uint64_t permute_once(std::uint64_t value, std::array<std::uint32_t, 2> key) const;

    std::uint64_t seed_, num_windows_;
    std::uint64_t rows_, columns_; ///< a and b
};

} // namespace sluice
