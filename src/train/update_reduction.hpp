// The one reduction of an update: what all ranks must know and agree on before weights change.
//
// One vector of float64 carries the squared gradient norm of every parameter (of every replica's
// part of it), every layer's gate counter, the loss of every micro-batch, the checksums of what
// crossed each edge of the pipeline and of what replicas exchanged, the requests to stop, and the
// number of ranks that still write a checkpoint. Most entries are non-zero on one rank only, so the
// sum is exact in any order, and every rank then adds norms and losses in the same global order:
// the result does not depend on the layout. Three kinds of entries have several owners, with sums
// that are exact all the same: requests to stop, writing ranks, and the 40-bit checksums of
// gradients sent. The seconds that each rank computed ride along.
#pragma once

#include "core/error.hpp"
#include "layers/parameter_memory.hpp"
#include "pipeline/executor.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/tensor_checksums.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

/// A check that failed on every rank alike: all can leave in order, and one speaks.
class UpdateRefused : public InvariantError {
public:
    using InvariantError::InvariantError;
};

/// What the last update has left is not to be saved.
class WeightsRefused : public InvariantError {
public:
    using InvariantError::InvariantError;
};

enum class AnomalyKind : std::uint8_t { not_finite, loss_spike };

/// What the numbers of an update's batch came to, where that is out of bounds.
struct Anomaly {
    AnomalyKind kind = AnomalyKind::not_finite;
    std::string what;
    double loss = 0.0; ///< mean over the global batch
};

/// An update refused for the numbers in it: another batch may do better.
class AnomalousUpdate : public UpdateRefused {
public:
    explicit AnomalousUpdate(Anomaly anomaly)
        : UpdateRefused(anomaly.what), anomaly_(std::move(anomaly))
    {
    }
    const Anomaly& anomaly() const { return anomaly_; }

private:
    Anomaly anomaly_;
};

struct UpdateSummary {
    double loss = 0.0;           ///< mean over the global batch's target tokens
    double grad_norm = 0.0;      ///< global, before clipping
    bool stop_requested = false; ///< by a signal on any rank
    bool saving = false;         ///< some rank's thread still writes a checkpoint
    /// Seconds that each rank of the job computed in this update: [num_ranks], valid until the next
    /// reduction.
    std::span<const double> compute_seconds{};
};

/// What one rank brings to the reduction.
struct UpdateOutcome {
    Stage& stage;
    Executor& executor;
    GradientExchange& exchange;         ///< finished
    std::int64_t completed_updates = 0; ///< what every gate counter must stand at
    bool stop_here = false;             ///< asked of this rank
    /// Where the update was computed twice: the first parameter of this rank, by its number in the
    /// whole model, whose gradient came out otherwise; -1: none did.
    std::int64_t unrepeated_parameter = -1;
    bool saving_here = false;           ///< this rank's thread writes
    ActionRecorder* recorder = nullptr; ///< told when the reduction itself begins and ends
};

class UpdateReduction {
public:
    /// `program`: of one replica. `stage`: this rank's. `verify`: whether to compare the replicas'
    /// weights.
    UpdateReduction(const ModelSpec& model, const Schedule& program,
                    std::vector<LayerRange> partition, const Replicas& replicas, const Stage& stage,
                    VerifyTransfers verify);

    /// Collective over all ranks. Throws UpdateRefused, the same on every rank and before any
    /// weight has changed, when a counter is out of step, a message arrived changed, replicas
    /// differ in their weights or a gradient came out otherwise when it was computed twice, and
    /// AnomalousUpdate when the loss or a gradient is not finite; the text names replica, rank,
    /// stage and layer.
    UpdateSummary reduce(const UpdateOutcome& outcome, std::int64_t tokens_per_update);

private:
    /// Places of the entries: one block per kind, [replica][...] in each.
    struct Blocks {
        std::size_t counters, losses, sent, received, shared, returned, weights, stop, saving,
            compute, unrepeated;
    };

    void fill(const UpdateOutcome& outcome);
    void fill_chunk(StageChunk& chunk);
    void add_up_weights();
    void check_gates(std::int64_t completed_updates) const;
    void check_transfers() const;
    void check_exchange() const;
    void check_weights() const;
    void check_repeated() const;
    void check_finite(Stage& stage, double loss);
    int replica_with_bad_gradient(Stage& stage, std::size_t parameter);
    double loss_sum() const;
    std::string microbatches_without_loss() const;
    std::string rank_of_chunk(std::size_t chunk, int replica) const;
    std::string stage_of_layer(std::int64_t layer, int replica) const;
    std::string stage_of_parameter(const ParameterSpec& parameter, int replica) const;

    const Replicas& replicas_;
    std::vector<ParameterSpec> parameters_; ///< of the whole model, in order
    std::vector<LayerRange> partition_;
    std::vector<std::int32_t> rank_of_chunk_;
    std::size_t num_replicas_, num_layers_, num_ranks_, num_edges_, num_microbatches_;
    Blocks at_{};
    /// Weights that lie in one piece, gaps of zeros included (layers/parameter_memory.hpp): a
    /// checksum for each is many times fewer than for every parameter, which would be launches that
    /// the update waits for.
    struct WeightGroup {
        std::size_t chunk;
        TensorView values; ///< [num_elements]
    };
    std::vector<WeightGroup> weight_groups_; ///< of this rank; empty where they are not compared
    std::optional<TensorChecksums> weights_; ///< by chunk; none where they are not compared
    std::vector<double> values_, flags_, squares_;
};

} // namespace sluice
