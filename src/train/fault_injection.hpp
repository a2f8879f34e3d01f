// Deliberate faults, to show that the run notices: `sluice train --inject`.
#pragma once

#include "pipeline/executor.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/stage.hpp"
#include "src/plan/run_plan.hpp"

#include <cstdint>
#include <string>

namespace sluice {

struct FaultInjection {
    enum class Kind : std::uint8_t {
        none,
        nan_gradient,
        wrong_gradient,  ///< where a layer is computed, the first time
        nan_weight,      ///< it stays until weights are restored
        garbled_targets, ///< the batch's targets are not what follows its inputs
        flip_activation,
        flip_gradient,
        flip_weight,
        flip_exchange,
        advance_gate,
        hang, ///< the rank with the layer goes on no further
        slow  ///< the rank with the layer takes five times as long to compute
    };
    Kind kind = Kind::none;
    /// Counted from 1. Faults belong to batches: update u meets the one on the batch it trains on,
    /// which is batch u unless batches were skipped.
    std::int64_t first_batch = 0, last_batch = 0;
    std::int64_t layer =
        0; ///< counted from 0; flips hit the message that enters this layer's stage
    int replica = 0;
    std::string text; ///< as it was asked for

    bool meets(std::int64_t batch) const
    {
        return kind != Kind::none && batch >= first_batch && batch <= last_batch;
    }
};

/// Throws UserError (usage) when the run of `config` has no such update, layer or replica, or
/// would not notice, and go on with wrong weights.
void refuse_without_target(const FaultInjection& fault, const RunConfig& config);
/// The same when the fault is of a message, and under `plan` none enters the layer's stage.
void refuse_without_message(const FaultInjection& fault, const RunPlan& plan);

/// Does what `fault` says to batch `batch` where this rank, of `replica`, has the layer. To be
/// called when any update begins.
void inject(const FaultInjection& fault, std::int64_t batch, int replica, Stage& stage,
            Executor& executor, GradientExchange& exchange);

/// Tokens as they are, but for the targets of garbled batches, which are others of the vocabulary.
class FaultyTokens : public TokenSource {
public:
    FaultyTokens(TokenSource& tokens, const FaultInjection& fault, std::int64_t batch, int replica,
                 std::int64_t vocab_size);
    void inputs(std::int32_t microbatch, const TensorView& into) override;
    void targets(std::int32_t microbatch, const TensorView& into) override;

private:
    TokenSource& tokens_;
    bool garbled_;
    std::int64_t vocab_size_;
};

} // namespace sluice
