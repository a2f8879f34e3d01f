#include "src/train/update_reduction.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

UpdateReduction::UpdateReduction(const ModelSpec& model, const Schedule& program,
                                 std::vector<LayerRange> partition, const Replicas& replicas,
                                 const Stage& stage, VerifyTransfers verify)
    : replicas_(replicas), parameters_(parameters_of(model)), partition_(std::move(partition)),
      rank_of_chunk_(program.rank_of_chunk),
      num_replicas_(static_cast<std::size_t>(replicas.count())),
      num_layers_(static_cast<std::size_t>(model.num_layers)),
      num_ranks_(static_cast<std::size_t>(replicas.ranks_per_replica())),
      num_edges_(2 * (partition_.size() - 1)),
      num_microbatches_(static_cast<std::size_t>(program.num_microbatches))
{
    if (replicas.count() > 1 && verify == VerifyTransfers::yes) {
        for (const StageChunk& chunk : stage.chunks())
            for (const ParameterGroup& group : groups_of(chunk.model->parameters()))
                weight_groups_.push_back({static_cast<std::size_t>(chunk.index), group.value});
        weights_.emplace(stage.stream(), partition_.size(), weight_groups_.size());
    }
    std::size_t end = parameters_.size() * num_replicas_;
    const auto take = [&](std::size_t count) {
        end += count;
        return end - count;
    };
    at_.counters = take(num_replicas_ * num_layers_);
    at_.losses = take(num_replicas_ * num_microbatches_);
    at_.sent = take(num_replicas_ * num_edges_);
    at_.received = take(num_replicas_ * num_edges_);
    at_.shared = take(num_replicas_ * num_ranks_);
    at_.returned = take(num_replicas_ * num_ranks_);
    at_.weights = take(num_replicas_ * partition_.size());
    at_.stop = take(1);
    at_.saving = take(1);
    at_.compute = take(num_replicas_ * num_ranks_);
    at_.unrepeated = take(num_replicas_ * num_ranks_);
    values_.resize(end);
    flags_.resize(num_replicas_);
}

void UpdateReduction::fill_chunk(StageChunk& chunk)
{
    const auto replica = static_cast<std::size_t>(replicas_.index());
    const std::span<const Parameter> parameters = chunk.model->parameters();
    squares_.resize(parameters.size());
    chunk.model->gradient_squares(squares_);
    for (std::size_t i = 0; i < parameters.size(); ++i)
        values_[static_cast<std::size_t>(parameters[i].spec.index) * num_replicas_ + replica] =
            squares_[i];
    const auto counters = chunk.warmup.counters();
    const std::size_t first =
        at_.counters + replica * num_layers_ + static_cast<std::size_t>(chunk.warmup.first_layer());
    std::copy(counters.begin(), counters.end(),
              values_.begin() + static_cast<std::ptrdiff_t>(first));
}

/// Queues the checksums of all weights; they are there by the time that the gradients' norms are.
void UpdateReduction::add_up_weights()
{
    weights_->clear();
    std::uint64_t weight = 1;
    for (const WeightGroup& group : weight_groups_) {
        weights_->add(group.chunk, group.values, weight);
        weight += 2;
    }
    weights_->send();
}

void UpdateReduction::fill(const UpdateOutcome& outcome)
{
    std::fill(values_.begin(), values_.end(), 0.0);
    const auto replica = static_cast<std::size_t>(replicas_.index());
    if (weights_)
        add_up_weights();
    for (StageChunk& chunk : outcome.stage.chunks())
        fill_chunk(chunk);
    if (weights_)
        std::ranges::transform(weights_->sums(),
                               values_.begin() + static_cast<std::ptrdiff_t>(
                                                     at_.weights + replica * partition_.size()),
                               [](std::uint64_t sum) { return folded(sum, 52); });
    const auto rank = static_cast<std::size_t>(replicas_.pipeline().rank());
    const auto put = [&](std::size_t place, const auto& entries) {
        std::copy(entries.begin(), entries.end(),
                  values_.begin() + static_cast<std::ptrdiff_t>(place));
    };
    put(at_.losses + replica * num_microbatches_, outcome.executor.losses());
    const TransferChecksums& crossed = outcome.executor.checksums();
    put(at_.sent + replica * num_edges_, crossed.sent);
    put(at_.received + replica * num_edges_, crossed.received);
    const ExchangeChecksums& exchanged = outcome.exchange.checksums();
    for (std::size_t owner = 0; owner < exchanged.sent.size(); ++owner)
        values_[at_.shared + owner * num_ranks_ + rank] = exchanged.sent[owner];
    values_[at_.returned + replica * num_ranks_ + rank] = exchanged.received;
    values_[at_.stop] = outcome.stop_here ? 1.0 : 0.0;
    values_[at_.saving] = outcome.saving_here ? 1.0 : 0.0;
    values_[at_.compute + replica * num_ranks_ + rank] = outcome.executor.compute_seconds();
    values_[at_.unrepeated + replica * num_ranks_ + rank] =
        static_cast<double>(outcome.unrepeated_parameter + 1);
}

UpdateSummary UpdateReduction::reduce(const UpdateOutcome& outcome, std::int64_t tokens_per_update)
{
    fill(outcome);
    leave_actions(outcome.recorder, replicas_.world().activity(), Activity::reduction);
    replicas_.world().sum(values_);
    leave_actions(outcome.recorder, replicas_.world().activity(), Activity::optimizer);
    // Damage in transit comes first: it explains whatever else would be found.
    check_transfers();
    check_exchange();
    check_weights();
    check_repeated();
    check_gates(outcome.completed_updates);
    const double loss = loss_sum() / static_cast<double>(tokens_per_update);
    check_finite(outcome.stage, loss);
    double sum = 0.0;
    for (std::size_t i = 0; i < at_.counters; ++i)
        sum += values_[i];
    return {.loss = loss,
            .grad_norm = std::sqrt(sum),
            .stop_requested = values_[at_.stop] > 0.0,
            .saving = values_[at_.saving] > 0.0,
            .compute_seconds =
                std::span(values_).subspan(at_.compute, at_.unrepeated - at_.compute)};
}

double UpdateReduction::loss_sum() const
{
    double sum = 0.0;
    for (std::size_t i = at_.losses; i < at_.sent; ++i)
        sum += values_[i];
    return sum;
}

std::string UpdateReduction::rank_of_chunk(std::size_t chunk, int replica) const
{
    const std::string rank =
        "rank " + std::to_string(replica * replicas_.ranks_per_replica() + rank_of_chunk_[chunk]);
    return num_replicas_ == 1 ? rank : "replica " + std::to_string(replica) + ", " + rank;
}

std::string UpdateReduction::stage_of_layer(std::int64_t layer, int replica) const
{
    for (std::size_t chunk = 0; chunk < partition_.size(); ++chunk)
        if (layer >= partition_[chunk].begin && layer < partition_[chunk].end)
            return rank_of_chunk(chunk, replica) + ", stage " + std::to_string(chunk) + ", layer " +
                   std::to_string(layer);
    return "layer " + std::to_string(layer);
}

std::string UpdateReduction::stage_of_parameter(const ParameterSpec& parameter, int replica) const
{
    if (parameter.layer >= 0)
        return stage_of_layer(parameter.layer, replica);
    const std::size_t chunk = parameter.index == 0 ? 0 : partition_.size() - 1;
    return rank_of_chunk(chunk, replica) + ", stage " + std::to_string(chunk);
}

void UpdateReduction::check_gates(std::int64_t completed_updates) const
{
    for (std::size_t entry = 0; at_.counters + entry < at_.losses; ++entry) {
        const double counter = values_[at_.counters + entry];
        if (counter != static_cast<double>(completed_updates))
            throw UpdateRefused("gate counter out of step: " +
                                stage_of_layer(static_cast<std::int64_t>(entry % num_layers_),
                                               static_cast<int>(entry / num_layers_)) +
                                " stands at " + std::to_string(static_cast<long long>(counter)) +
                                ", the run at " + std::to_string(completed_updates) +
                                " completed updates; no weight was changed");
    }
}

void UpdateReduction::check_transfers() const
{
    for (std::size_t entry = 0; at_.sent + entry < at_.received; ++entry) {
        if (values_[at_.sent + entry] == values_[at_.received + entry])
            continue;
        const auto replica = static_cast<int>(entry / num_edges_);
        const std::size_t edge = entry % num_edges_ / 2;
        const bool gradient = entry % 2 == 1;
        const std::size_t from = edge + (gradient ? 1 : 0), to = edge + (gradient ? 0 : 1);
        throw UpdateRefused(std::string(gradient ? "a gradient" : "an activation") +
                            " changed on its way from stage " + std::to_string(from) + " (" +
                            rank_of_chunk(from, replica) + ") to stage " + std::to_string(to) +
                            " (" + rank_of_chunk(to, replica) + "), between layers " +
                            std::to_string(partition_[edge].end - 1) + " and " +
                            std::to_string(partition_[edge].end) +
                            ": memory or network is damaged; no weight was changed");
    }
}

void UpdateReduction::check_exchange() const
{
    for (std::size_t entry = 0; at_.shared + entry < at_.returned; ++entry)
        if (values_[at_.shared + entry] != values_[at_.returned + entry])
            throw UpdateRefused("gradients changed on their way from other replicas to replica " +
                                std::to_string(entry / num_ranks_) + " (rank " +
                                std::to_string(entry) +
                                "): memory or network is damaged; no weight was changed");
}

void UpdateReduction::check_weights() const
{
    const std::size_t num_chunks = partition_.size();
    for (std::size_t entry = num_chunks; at_.weights + entry < at_.stop; ++entry) {
        const std::size_t chunk = entry % num_chunks;
        if (values_[at_.weights + entry] != values_[at_.weights + chunk])
            throw UpdateRefused(
                "the weights of stage " + std::to_string(chunk) + " differ between replica 0 and " +
                rank_of_chunk(chunk, static_cast<int>(entry / num_chunks)) +
                ": memory or network is damaged; no weight was changed in this update");
    }
}

void UpdateReduction::check_repeated() const
{
    for (std::size_t entry = 0; at_.unrepeated + entry < values_.size(); ++entry) {
        const double number = values_[at_.unrepeated + entry];
        if (number == 0.0)
            continue;
        const ParameterSpec& parameter = parameters_.at(static_cast<std::size_t>(number) - 1);
        throw UpdateRefused("the gradient of " + parameter.name +
                            " came out otherwise when it was computed again " +
                            "on the same batch (" +
                            stage_of_parameter(parameter, static_cast<int>(entry / num_ranks_)) +
                            "): a processor or memory is damaged; no weight was changed");
    }
}

void UpdateReduction::check_finite(Stage& stage, double loss)
{
    const auto refuse = [&](const std::string& what) {
        throw AnomalousUpdate({AnomalyKind::not_finite, what + "; no weight was changed", loss});
    };
    if (!std::isfinite(loss))
        refuse("the loss is not finite (" + std::string(std::isnan(loss) ? "nan" : "infinite") +
               ")" + microbatches_without_loss());
    // Backward runs from the head to the embedding: the last bad parameter is nearest the cause.
    for (std::size_t i = at_.counters; i-- > 0;) {
        if (std::isfinite(values_[i]))
            continue;
        const ParameterSpec& parameter = parameters_[i / num_replicas_];
        const int replica = replica_with_bad_gradient(stage, i / num_replicas_);
        refuse("the gradient of " + parameter.name + " is not finite (" +
               stage_of_parameter(parameter, replica) + ")");
    }
}

/// Of the global batch; nothing where only their sum is not finite.
std::string UpdateReduction::microbatches_without_loss() const
{
    const std::span<const double> losses =
        std::span(values_).subspan(at_.losses, num_replicas_ * num_microbatches_);
    const auto is_bad = [](double loss) { return !std::isfinite(loss); };
    const auto num_bad = static_cast<std::size_t>(std::ranges::count_if(losses, is_bad));
    const std::string total = std::to_string(losses.size());
    if (num_bad == 0)
        return "";
    if (num_bad == losses.size())
        return ", in all " + total + " micro-batches";
    const auto first = std::ranges::find_if(losses, is_bad) - losses.begin();
    const std::string others = num_bad == 1 ? "" : " and " + std::to_string(num_bad - 1) + " more";
    return ", in micro-batch " + std::to_string(first) + others + " of " + total +
           " (counted from 0)";
}

/// The sums are bad in a part; each replica still has what it sent to others. Where all of that is
/// good, the owner of the part brought in the bad number itself. Collective.
int UpdateReduction::replica_with_bad_gradient(Stage& stage, std::size_t parameter_index)
{
    const auto replica = static_cast<std::size_t>(replicas_.index());
    std::fill(flags_.begin(), flags_.end(), 0.0);
    for (StageChunk& chunk : stage.chunks()) {
        for (const Parameter& parameter : chunk.model->parameters()) {
            if (static_cast<std::size_t>(parameter.spec.index) != parameter_index)
                continue;
            const TensorView& gradient = parameter.gradient;
            const std::int64_t behind = gradient.num_elements() - parameter.owned.end;
            const double others =
                chunk.model->sum_of_squares(gradient.slice(0, {parameter.owned.begin})) +
                chunk.model->sum_of_squares(gradient.slice(parameter.owned.end, {behind}));
            flags_[replica] = std::isfinite(others) ? 0.0 : 1.0;
        }
    }
    replicas_.world().sum(flags_);
    const auto bad = std::find_if(flags_.begin(), flags_.end(), [](double f) { return f > 0.0; });
    if (bad != flags_.end())
        return static_cast<int>(bad - flags_.begin());
    for (std::size_t owner = 0; owner < num_replicas_; ++owner)
        if (!std::isfinite(values_[parameter_index * num_replicas_ + owner]))
            return static_cast<int>(owner);
    return 0;
}

} // namespace sluice
