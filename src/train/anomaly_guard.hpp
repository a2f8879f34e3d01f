// What becomes of an update whose gradients are not finite or whose loss is a spike, by [anomaly]
// of the run file; and what that leaves behind: the batches skipped, how often, the losses to
// compare with. All of it is the same on all ranks and travels in checkpoints.
#pragma once

#include "io/checkpoint.hpp"
#include "src/config/run_config.hpp"
#include "src/train/loss_spikes.hpp"
#include "src/train/update_reduction.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// An anomaly, the answer to it, and what to tell people.
struct AnomalyVerdict {
    Anomaly anomaly;
    std::int64_t update = 0; ///< that met it
    AnomalyResponse response = AnomalyResponse::stop;
    BatchRange batches; ///< skip, rewind: that are skipped now; else the update's own
    /// skip, rewind: completed updates to go back to, or further. A skip's weights are the ones in
    /// memory, which the refused update has not changed.
    std::int64_t target = 0;
    std::int64_t num_rewinds = 0; ///< so far, with this one
    std::string text;             ///< what is wrong, and in which samples
};

/// "not finite", "loss spike".
std::string_view name_of(AnomalyKind kind);

class AnomalyGuard {
public:
    AnomalyGuard(const AnomalyConfig& config, std::int64_t global_batch_size);

    /// Of the update's batch, counted from 1.
    std::int64_t batch_of(std::int64_t update) const { return skipped_.batch_of(update); }
    const SkippedBatches& skipped() const { return skipped_; }

    /// Whether `loss` of the next update is a spike. Call before weights change.
    std::optional<Anomaly> spike_in(double loss) const;
    /// What to do about it, on all ranks. For skip and rewind the batches are skipped from here on.
    AnomalyVerdict answer(const Anomaly& anomaly, std::int64_t update);
    /// The update with this loss is done.
    void accept(double loss) { losses_.add(loss); }

    void save_into(CheckpointProgress& progress) const;
    /// When a run starts from a checkpoint.
    void restore(const CheckpointProgress& progress);
    /// When a run goes back to an earlier checkpoint: what is skipped stays skipped.
    void go_back_to(const CheckpointProgress& progress);

private:
    AnomalyConfig config_;
    std::int64_t global_batch_size_;
    SkippedBatches skipped_;
    std::int64_t num_rewinds_ = 0;
    LossSpikes losses_;
};

} // namespace sluice
