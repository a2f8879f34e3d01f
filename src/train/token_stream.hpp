// The token ids that updates and evaluations see, as the executor asks for them.
#pragma once

#include "io/batch_reader.hpp"
#include "io/sample_order.hpp"
#include "io/token_file.hpp"
#include "pipeline/executor.hpp"
#include "src/config/run_config.hpp"

#include <memory>
#include <optional>

namespace sluice {

/// What a rank needs of a micro-batch: inputs where the embedding is, targets where the head is.
struct TokenHalves {
    bool inputs = true, targets = true;
};

/// Training and validation data of one rank.
class TokenStream {
public:
    /// Opens both files. Throws UserError (data) when one is missing or damaged, holds too few
    /// tokens for one sequence, or has a larger vocabulary than the model.
    explicit TokenStream(const RunConfig& config);
    ~TokenStream();

    const TokenFileInfo& train_info() const;
    std::uint64_t num_train_sequences() const; ///< of an epoch
    bool has_validation() const;
    /// TokenFile::was_written_to() of the training data.
    bool train_was_written_to() const;
    /// Both are the same tokens.
    bool validates_what_it_trains_on() const;

    /// The tokens of batch `batch` (counted from 1), micro-batch by micro-batch, from micro-batch
    /// `first_microbatch` of the global batch on, which the source calls 0.
    TokenSource& training(std::int64_t batch, std::int64_t first_microbatch = 0);
    /// The validation windows in plain order, from micro-batch `first_microbatch` on.
    TokenSource& evaluation(std::int64_t first_microbatch = 0);
    /// `count` of them, all read at once: that their data cannot be read is known before anything
    /// is computed. Throws UserError (data).
    TokenSource& evaluation_ahead(std::int64_t first_microbatch, std::int32_t count,
                                  const TokenHalves& needed);
    /// Micro-batches of one evaluation: what eval.tokens and the validation file allow.
    std::int32_t num_evaluation_microbatches() const;

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

} // namespace sluice
