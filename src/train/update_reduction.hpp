// The one reduction of an update: what all ranks must know and agree on before weights change.
//
// One vector of float64 carries the squared gradient norm of every parameter, every layer's gate
// counter, the loss, the checksums of what crossed each edge of the pipeline, and requests to stop.
// Each entry is non-zero on one rank only, so the sum is exact in any order, and every rank then
// adds the norms in the same global parameter order: the result does not depend on the layout.
#pragma once

#include "core/error.hpp"
#include "pipeline/executor.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

/// A check that failed on every rank alike: all can leave in order, and one speaks.
class UpdateRefused : public InvariantError {
public:
    using InvariantError::InvariantError;
};

struct UpdateSummary {
    double loss = 0.0;           ///< mean over the global batch's target tokens
    double grad_norm = 0.0;      ///< global, before clipping
    bool stop_requested = false; ///< by a signal on any rank
};

class UpdateReduction {
public:
    UpdateReduction(const ModelSpec& model, const Schedule& program,
                    std::vector<LayerRange> partition);

    /// Collective. `completed_updates`: what every gate counter must stand at. Throws
    /// InvariantError, the same on every rank and before any weight has changed, when a gradient is
    /// not finite, a counter is out of step or a message arrived changed; the text names rank,
    /// stage and layer.
    UpdateSummary reduce(Stage& stage, const Executor& executor, Transport& transport,
                         std::int64_t completed_updates, std::int64_t tokens_per_update,
                         bool stop_here);

private:
    void fill(Stage& stage, const Executor& executor, bool stop_here);
    void check_gates(std::int64_t completed_updates) const;
    void check_transfers() const;
    void check_finite() const;
    std::string stage_of_layer(std::int64_t layer) const;
    std::string stage_of_parameter(const ParameterSpec& parameter) const;

    std::vector<ParameterSpec> parameters_; ///< of the whole model, in order
    std::vector<LayerRange> partition_;
    std::vector<std::int32_t> rank_of_chunk_;
    std::int64_t num_layers_;
    std::size_t counters_at_, loss_at_, sent_at_, received_at_, stop_at_;
    std::vector<double> values_;
};

} // namespace sluice
