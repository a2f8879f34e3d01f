// Runs one rank's actions of a schedule: the only place where schedules, chunks and messages meet.
//
// Which buffers a micro-batch uses is settled before (schedule/slot_table.hpp).
#pragma once

#include "pipeline/action_recorder.hpp"
#include "pipeline/compute_clock.hpp"
#include "pipeline/host_exchange.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/tensor_checksums.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace sluice {

class GradientExchange;

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
    /// `program` must have its communication actions and have passed the checker, which gave
    /// `slots`; the stage must have as many. All four outlive the executor.
    Executor(const Schedule& program, const SlotTable& slots, Stage& stage, Transport& transport,
             VerifyTransfers verify);

    /// Once before the first message: whatever a GPU must load for the actions (rehearsal.hpp).
    /// Blocks until it has run. Nothing on CPUs.
    void rehearse();

    /// Runs this rank's actions up to its optimizer step, and waits for its sends. ACCUMULATES the
    /// gradients. Each token's loss gradient is multiplied by `loss_scale`. Whatever throws inside
    /// passes through; where() then says at which action.
    void run_update(TokenSource& tokens, double loss_scale);

    /// Runs a program of forwards only and evaluates the loss of each micro-batch. Returns the sum
    /// of token losses in micro-batch order on the rank with the head, 0 on others; on GPUs once
    /// all of it is done.
    double run_evaluation(TokenSource& tokens);

    /// The sum of token losses of each micro-batch of the last update or evaluation:
    /// [num_microbatches of the program]; zeros on ranks without the head.
    std::span<const double> losses() const { return losses_; }
    /// Of the last update. Blocks until the device has come to its end.
    const TransferChecksums& checksums();
    /// The action now running (or last run), in words, for error messages.
    std::string where() const;

    /// From now on tells `exchange` (not owned) which gradients are final during the last
    /// micro-batch's backward passes, and lets it advance between actions.
    void exchange_through(GradientExchange& exchange) { exchange_ = &exchange; }

    /// Seconds this rank computed in the last update or evaluation: the layers' work, no waiting.
    double compute_seconds() const { return clock_.seconds(); }

    void inject(const TransferFault& fault) { fault_ = fault; }
    /// For drills: from now on whatever this rank computes takes `factor` times as long.
    void slow_down(double factor) { clock_.slow_down(factor); }
    /// From now on; nullptr: nowhere.
    void record_into(ActionRecorder* recorder) { recorder_ = recorder; }

private:
    void turn_to(Activity activity); ///< for the trace, and for whoever watches
    void run(const Action& action, TokenSource& tokens);
    void run_forward(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens);
    void upload_targets(StageChunk& chunk, std::int32_t microbatch, TokenSource& tokens);
    void run_backward_input(StageChunk& chunk, const Action& action, TokenSource& tokens);
    GradientExchange* observer_of(std::int32_t microbatch) const;
    void finish();
    void post(StageChunk& chunk, const Action& action);
    void take(MessageId& message, const TensorView& tensor, std::int32_t chunk,
              std::int32_t microbatch, bool gradient);
    enum class End : std::uint8_t { sender, receiver };
    void record(End end, std::int32_t edge, bool gradient, std::int32_t microbatch,
                const TensorView& tensor);
    void wait_for_buffer(MessageId& message);
    void wait_for_sends();

    const Schedule& program_;
    const SlotTable& slots_;
    Stage& stage_;
    Transport& transport_;
    Stream stream_;
    ComputeClock clock_;
    TokenUpload upload_;
    LossDownload download_;
    GradientExchange* exchange_ = nullptr;
    /// Messages under way into or out of each slot.
    std::vector<MessageId> received_activation_; ///< [inbox slot]
    std::vector<MessageId> sent_activation_;     ///< [activation slot]
    std::vector<MessageId> received_gradient_;   ///< [gradient slot]
    std::vector<MessageId> sent_gradient_;       ///< [gradient slot]
    TransferChecksums checksums_;
    /// One sum per entry of checksums_, sent before received; none where nothing is verified.
    std::optional<TensorChecksums> messages_;
    TransferFault fault_;
    ActionRecorder* recorder_ = nullptr;
    Action current_{};
    double loss_scale_ = 0.0;
    std::vector<double> losses_; ///< [num_microbatches]
    bool evaluating_ = false;
};

} // namespace sluice
