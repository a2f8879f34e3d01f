#include "src/train/training_progress.hpp"

#include "core/logging.hpp"
#include "src/text/number_text.hpp"

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

TrainingProgress::TrainingProgress(const RunConfig& config)
    : num_updates_(config.run.updates), tokens_per_update_(config.batch.tokens_per_update()),
      line_(stderr)
{
}

void TrainingProgress::show(const ProgressPoint& point)
{
    const std::chrono::duration<double> now = ProgressLine::Clock::now().time_since_epoch();
    pace_.add(point.seconds, now.count());
    line_.update(text_of(point));
}

std::string TrainingProgress::text_of(const ProgressPoint& point) const
{
    const double tokens_per_second =
        static_cast<double>(tokens_per_update_) / std::max(1e-9, pace_.seconds_per_update());
    const double remaining = pace_.seconds_for(num_updates_ - point.update);
    // Everything that matters fits 80 columns.
    return fmt::format("{}/{} loss {:.3f} ppl {:.4g} {} tok/s ETA {} {}", point.update,
                       num_updates_, point.loss, std::exp(point.loss),
                       count_text(tokens_per_second), duration_text(remaining),
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
