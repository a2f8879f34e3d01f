#include "src/train/training_progress.hpp"

#include "core/logging.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace sluice {

std::string gates_text(std::span<const double> alphas)
{
    double sum = 0.0;
    std::size_t open = 0;
    for (const double alpha : alphas) {
        sum += alpha;
        open += alpha >= 1.0 ? 1 : 0;
    }
    return fmt::format("gates {:.0f}% ({}/{} open)",
                       100.0 * sum / static_cast<double>(std::max<std::size_t>(1, alphas.size())),
                       open, alphas.size());
}

std::string duration_text(double seconds)
{
    const auto total = static_cast<std::int64_t>(std::ceil(std::max(0.0, seconds)));
    const std::int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60;
    if (days > 0)
        return fmt::format("{}d {:02}:{:02}", days, hours, minutes);
    if (hours > 0)
        return fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60);
    return fmt::format("{}:{:02}", minutes, total % 60);
}

std::string count_text(double count)
{
    for (const char* suffix : {"", "k", "M", "G"}) {
        if (count < 1000.0 || *suffix == 'G')
            return fmt::format("{:.{}f}{}", count, *suffix && count < 100.0 ? 1 : 0, suffix);
        count /= 1000.0;
    }
    return {};
}

TrainingProgress::TrainingProgress(const RunConfig& config)
    : num_updates_(config.run.updates), tokens_per_update_(config.batch.tokens_per_update()),
      line_(stderr)
{
}

void TrainingProgress::show(const ProgressPoint& point)
{
    average_seconds_ =
        average_seconds_ == 0.0 ? point.seconds : 0.9 * average_seconds_ + 0.1 * point.seconds;
    line_.update(text_of(point));
}

double TrainingProgress::tokens_per_second() const
{
    return average_seconds_ > 0.0 ? static_cast<double>(tokens_per_update_) / average_seconds_
                                  : 0.0;
}

std::string TrainingProgress::text_of(const ProgressPoint& point) const
{
    const double remaining = average_seconds_ * static_cast<double>(num_updates_ - point.update);
    // Everything that matters fits 80 columns.
    return fmt::format("{}/{} loss {:.3f} ppl {:.4g} {} tok/s ETA {} {}", point.update,
                       num_updates_, point.loss, std::exp(point.loss),
                       count_text(tokens_per_second()), duration_text(remaining),
                       gates_text(point.alphas));
}

void TrainingProgress::note(const std::string& text)
{
    line_.clear();
    log_info(text);
}

void TrainingProgress::warn(const std::string& text)
{
    line_.clear();
    log_warning(text);
}

void TrainingProgress::finish() { line_.finish(); }

} // namespace sluice
