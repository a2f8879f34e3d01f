#include "src/train/loss_spikes.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

LossSpikes::LossSpikes(std::size_t window) : window_(window) { recent_.reserve(window); }

double LossSpikes::deviation_of(double loss) const
{
    if (window_ == 0 || recent_.size() < window_)
        return 0.0;
    const auto count = static_cast<double>(recent_.size());
    double sum = 0.0, squares = 0.0;
    for (const double earlier : recent_)
        sum += earlier;
    const double mean = sum / count;
    for (const double earlier : recent_)
        squares += (earlier - mean) * (earlier - mean);
    return (loss - mean) / std::max(std::sqrt(squares / count), 1e-3 * std::abs(mean));
}

void LossSpikes::add(double loss)
{
    if (window_ == 0)
        return;
    if (recent_.size() == window_)
        recent_.erase(recent_.begin());
    recent_.push_back(loss);
}

void LossSpikes::restore(std::span<const double> losses)
{
    const std::size_t kept = std::min(losses.size(), window_);
    recent_.assign(losses.end() - static_cast<std::ptrdiff_t>(kept), losses.end());
}

} // namespace sluice
