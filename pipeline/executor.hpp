// Runs one rank's actions of a schedule: the only place where schedules, chunks and messages meet.
//
// Slots follow from the checker's peaks: micro-batch m of a chunk uses activation slot
// m mod peak_live_microbatches and gradient slot m mod peak_live_gradients.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

/// Where a micro-batch's token ids come from. Called on the ranks that need them only.
class TokenSource {
public:
    virtual ~TokenSource() = default;
    virtual void inputs(std::int32_t microbatch, const TensorView& into) = 0;  ///< [N] i32
    virtual void targets(std::int32_t microbatch, const TensorView& into) = 0; ///< [N] i32
};

/// Checksums of what crossed each edge of the pipeline in one update, folded over micro-batches
/// into 52 bits so that they travel exactly in a float64. Edge e joins chunk e and chunk e+1; entry
/// 2e is its activations, 2e+1 its gradients. Both ends must agree before weights change.
struct TransferChecksums {
    std::vector<double> sent, received; ///< [2 * (num_chunks - 1)], 0 where this rank has no end
};

/// For fault drills: flips one bit of the next message of this kind after it was received.
struct TransferFault {
    std::int32_t chunk = -1; ///< the receiving chunk; -1: none
    std::int32_t microbatch = 0;
    bool gradient = false;
};

enum class VerifyTransfers : bool { no, yes };

class Executor {
public:
    /// `program` must have its communication actions and have passed the checker.
    Executor(const Schedule& program, Stage& stage, Transport& transport, VerifyTransfers verify);

    /// Runs this rank's actions up to its optimizer step, and waits for its sends. ACCUMULATES the
    /// gradients. Each token's loss gradient is multiplied by `loss_scale`. Whatever throws inside
    /// passes through; where() then says at which action.
    void run_update(TokenSource& tokens, double loss_scale);

    /// Runs a program of forwards only and evaluates the loss of each micro-batch. Returns the sum
    /// of token losses in micro-batch order on the rank with the head, 0 on others.
    double run_evaluation(TokenSource& tokens);

    /// Sum of token losses of the last update, added in micro-batch order, on the rank with the
    /// head; 0 on others.
    double loss_sum() const { return loss_sum_; }
    const TransferChecksums& checksums() const { return checksums_; }
    /// The action now running (or last run), in words, for error messages.
    std::string where() const;

    void inject(const TransferFault& fault) { fault_ = fault; }

private:
    struct Edges {                                                   ///< per owned chunk
        std::vector<MessageId> received_activation, sent_activation; ///< [slot]
        std::vector<MessageId> received_gradient, sent_gradient;     ///< [gradient slot]
    };

    void run(const Action& action, TokenSource& tokens);
    void run_forward(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens);
    void run_backward_input(StageChunk& chunk, const Action& action, TokenSource& tokens);
    void finish_loss(StageChunk& chunk, std::int32_t microbatch);
    void post(StageChunk& chunk, const Action& action);
    void take(MessageId& message, const TensorView& tensor, std::int32_t chunk,
              std::int32_t microbatch, bool gradient);
    void record(std::vector<double>& side, std::int32_t edge, bool gradient,
                std::int32_t microbatch, const TensorView& tensor);
    void wait_for_sends();
    std::int64_t slot(const StageChunk& chunk, std::int32_t microbatch) const;
    std::int64_t gradient_slot(const StageChunk& chunk, std::int32_t microbatch) const;
    Edges& edges(const StageChunk& chunk) { return edges_[&chunk - stage_.chunks().data()]; }

    const Schedule& program_;
    Stage& stage_;
    Transport& transport_;
    VerifyTransfers verify_;
    std::vector<Edges> edges_;
    TransferChecksums checksums_;
    TransferFault fault_;
    Action current_{};
    double loss_scale_ = 0.0;
    double loss_sum_ = 0.0;
    bool evaluating_ = false;
};

} // namespace sluice
