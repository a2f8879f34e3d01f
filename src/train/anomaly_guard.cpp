#include "src/train/anomaly_guard.hpp"

#include "io/sample_order.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace sluice {

AnomalyGuard::AnomalyGuard(const AnomalyConfig& config, std::int64_t global_batch_size)
    : config_(config), global_batch_size_(global_batch_size),
      losses_(config.loss_spike_sigma > 0.0 ? static_cast<std::size_t>(config.spike_window) : 0)
{
}

std::string_view name_of(AnomalyKind kind)
{
    return kind == AnomalyKind::not_finite ? "not finite" : "loss spike";
}

std::optional<Anomaly> AnomalyGuard::spike_in(double loss) const
{
    const double deviation = losses_.deviation_of(loss);
    if (config_.loss_spike_sigma <= 0.0 || deviation <= config_.loss_spike_sigma)
        return std::nullopt;
    return Anomaly{AnomalyKind::loss_spike,
                   fmt::format("the loss {:.4f} stands {:.1f} standard deviations above the mean "
                               "of the last {} updates",
                               loss, deviation, config_.spike_window),
                   loss};
}

AnomalyVerdict AnomalyGuard::answer(const Anomaly& anomaly, std::int64_t update)
{
    const std::int64_t batch = batch_of(update);
    const auto first_sample =
        static_cast<std::int64_t>(first_sample_of_batch(batch, global_batch_size_));
    AnomalyVerdict verdict{
        .anomaly = anomaly,
        .update = update,
        .response =
            anomaly.kind == AnomalyKind::not_finite ? config_.on_nonfinite : config_.on_spike,
        .batches = {batch, batch},
        .text = fmt::format("{}; its batch is samples {} to {}", anomaly.what, first_sample,
                            first_sample + global_batch_size_ - 1)};
    const bool goes_back =
        verdict.response == AnomalyResponse::skip || verdict.response == AnomalyResponse::rewind;
    if (goes_back && num_rewinds_ >= config_.max_rewinds) {
        verdict.response = AnomalyResponse::stop;
        verdict.text += fmt::format("; the run has skipped or rewound {} times, which is "
                                    "anomaly.max_rewinds (skipped batches: {})",
                                    num_rewinds_, skipped_.text());
    } else if (goes_back) {
        const std::int64_t updates_back =
            verdict.response == AnomalyResponse::skip ? 1 : config_.rewind_updates;
        verdict.target = std::max<std::int64_t>(0, update - updates_back);
        verdict.batches = skipped_.skip_updates(verdict.target + 1, update);
        verdict.num_rewinds = ++num_rewinds_;
    }
    return verdict;
}

void AnomalyGuard::save_into(CheckpointProgress& progress) const
{
    progress.skipped = skipped_;
    progress.num_rewinds = num_rewinds_;
    progress.recent_losses = losses_.recent();
}

void AnomalyGuard::restore(const CheckpointProgress& progress)
{
    skipped_ = progress.skipped;
    num_rewinds_ = progress.num_rewinds;
    losses_.restore(progress.recent_losses);
}

void AnomalyGuard::go_back_to(const CheckpointProgress& progress)
{
    losses_.restore(progress.recent_losses);
}

} // namespace sluice
