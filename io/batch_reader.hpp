// Batches of token windows, ready for the model: the trainer's and the evaluation's view of a token
// file.
#pragma once

#include "core/tensor_view.hpp"
#include "io/sample_order.hpp"
#include "io/token_file.hpp"

#include <cstdint>
#include <optional>

namespace sluice {

/// Throws UserError (data) when the file's tokens need a larger vocabulary than the model has.
void check_vocabulary(const TokenFile& file, std::int64_t model_vocab_size);

/// Throws UserError (data) when the two files' ids are of different tokenizers: a model that was
/// trained on one says nothing of the other.
void check_tokenizer(const TokenFile& file, const TokenFile& trained_on);

class BatchReader {
public:
    /// For training: sample g is window SampleOrder(seed, num_windows).window_of(g), epochs without
    /// end. `file` must outlive the reader. Throws UserError (data) when the file holds fewer than
    /// seq_len + 1 tokens.
    static BatchReader shuffled(const TokenFile& file, std::int64_t seq_len, std::uint64_t seed);
    /// For evaluation: sample i is window i, for i < num_windows().
    static BatchReader in_order(const TokenFile& file, std::int64_t seq_len);

    std::uint64_t num_windows() const { return num_windows_; }
    std::uint64_t window_of(std::uint64_t sample) const;
    std::uint64_t epoch_of(std::uint64_t sample) const; ///< 0 in plain order, which has only one

    /// Samples [first, first + B): overwrites `inputs` and `targets`, both i32 [B,T] on the CPU
    /// with T = seq_len. targets[b,t] is the token after inputs[b,t]. One of the two may be an
    /// empty view and is then left out. Allocates nothing. May be called from several threads.
    /// Throws UserError (data) for a token outside the vocabulary.
    void read(std::uint64_t first, const TensorView& inputs, const TensorView& targets) const;

private:
    BatchReader(const TokenFile& file, std::int64_t seq_len);

    const TokenFile* file_;
    std::int64_t seq_len_;
    std::uint64_t num_windows_;
    std::optional<SampleOrder> order_; ///< empty: plain order
};

} // namespace sluice
