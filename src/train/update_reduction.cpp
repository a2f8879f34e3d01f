#include "src/train/update_reduction.hpp"

#include "layers/kernels/sum_of_squares.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

UpdateReduction::UpdateReduction(const ModelSpec& model, const Schedule& program,
                                 std::vector<LayerRange> partition)
    : parameters_(parameters_of(model)), partition_(std::move(partition)),
      rank_of_chunk_(program.rank_of_chunk), num_layers_(model.num_layers)
{
    const std::size_t num_edges = 2 * (partition_.size() - 1);
    counters_at_ = parameters_.size();
    loss_at_ = counters_at_ + static_cast<std::size_t>(num_layers_);
    sent_at_ = loss_at_ + 1;
    received_at_ = sent_at_ + num_edges;
    stop_at_ = received_at_ + num_edges;
    values_.resize(stop_at_ + 1);
}

void UpdateReduction::fill(Stage& stage, const Executor& executor, bool stop_here)
{
    std::fill(values_.begin(), values_.end(), 0.0);
    for (StageChunk& chunk : stage.chunks()) {
        const Stream stream{chunk.model->options().backend};
        for (const Parameter& parameter : chunk.model->parameters())
            kernels::launch(stream, kernels::SumOfSquares{
                                        .x = parameter.gradient,
                                        .result = view_of(&values_[parameter.spec.index], {1})});
        const auto counters = chunk.warmup.counters();
        for (std::size_t i = 0; i < counters.size(); ++i)
            values_[counters_at_ + static_cast<std::size_t>(chunk.warmup.first_layer()) + i] =
                static_cast<double>(counters[i]);
    }
    values_[loss_at_] = executor.loss_sum();
    const TransferChecksums& checksums = executor.checksums();
    std::copy(checksums.sent.begin(), checksums.sent.end(), values_.begin() + sent_at_);
    std::copy(checksums.received.begin(), checksums.received.end(), values_.begin() + received_at_);
    values_[stop_at_] = stop_here ? 1.0 : 0.0;
}

UpdateSummary UpdateReduction::reduce(Stage& stage, const Executor& executor, Transport& transport,
                                      std::int64_t completed_updates,
                                      std::int64_t tokens_per_update, bool stop_here)
{
    fill(stage, executor, stop_here);
    transport.sum(values_);
    // Damage in transit comes first: it explains whatever else would be found.
    check_transfers();
    check_gates(completed_updates);
    check_finite();
    double sum = 0.0;
    for (std::size_t i = 0; i < counters_at_; ++i)
        sum += values_[i];
    return {.loss = values_[loss_at_] / static_cast<double>(tokens_per_update),
            .grad_norm = std::sqrt(sum),
            .stop_requested = values_[stop_at_] > 0.0};
}

std::string UpdateReduction::stage_of_layer(std::int64_t layer) const
{
    for (std::size_t chunk = 0; chunk < partition_.size(); ++chunk)
        if (layer >= partition_[chunk].begin && layer < partition_[chunk].end)
            return "rank " + std::to_string(rank_of_chunk_[chunk]) + ", stage " +
                   std::to_string(chunk) + ", layer " + std::to_string(layer);
    return "layer " + std::to_string(layer);
}

std::string UpdateReduction::stage_of_parameter(const ParameterSpec& parameter) const
{
    if (parameter.layer >= 0)
        return stage_of_layer(parameter.layer);
    const std::size_t chunk = parameter.index == 0 ? 0 : partition_.size() - 1;
    return "rank " + std::to_string(rank_of_chunk_[chunk]) + ", stage " + std::to_string(chunk);
}

void UpdateReduction::check_gates(std::int64_t completed_updates) const
{
    for (std::int64_t layer = 0; layer < num_layers_; ++layer) {
        const double counter = values_[counters_at_ + static_cast<std::size_t>(layer)];
        if (counter != static_cast<double>(completed_updates))
            throw UpdateRefused("gate counter out of step: " + stage_of_layer(layer) +
                                " stands at " + std::to_string(static_cast<long long>(counter)) +
                                ", the run at " + std::to_string(completed_updates) +
                                " completed updates; no weight was changed");
    }
}

void UpdateReduction::check_transfers() const
{
    for (std::size_t entry = 0; sent_at_ + entry < received_at_; ++entry) {
        if (values_[sent_at_ + entry] == values_[received_at_ + entry])
            continue;
        const bool gradient = entry % 2 == 1;
        const std::size_t from = entry / 2 + (gradient ? 1 : 0);
        const std::size_t to = entry / 2 + (gradient ? 0 : 1);
        throw UpdateRefused(std::string(gradient ? "a gradient" : "an activation") +
                            " changed on its way from stage " + std::to_string(from) + " (rank " +
                            std::to_string(rank_of_chunk_[from]) + ") to stage " +
                            std::to_string(to) + " (rank " + std::to_string(rank_of_chunk_[to]) +
                            "), between layers " + std::to_string(partition_[entry / 2].end - 1) +
                            " and " + std::to_string(partition_[entry / 2].end) +
                            ": memory or network is damaged; no weight was changed");
    }
}

void UpdateReduction::check_finite() const
{
    if (!std::isfinite(values_[loss_at_]))
        throw UpdateRefused("the loss is not finite (" + std::to_string(values_[loss_at_]) +
                            "); no weight was changed");
    // Backward runs from the head to the embedding: the last bad parameter is nearest the cause.
    for (std::size_t i = counters_at_; i-- > 0;) {
        if (std::isfinite(values_[i]))
            continue;
        throw UpdateRefused("the gradient of " + parameters_[i].name + " is not finite (" +
                            stage_of_parameter(parameters_[i]) + "); no weight was changed");
    }
}

} // namespace sluice
