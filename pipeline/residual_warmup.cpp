#include "pipeline/residual_warmup.hpp"

#include "core/error.hpp"

#include <array>
#include <cmath>
#include <limits>

namespace sluice {

namespace {

constexpr std::array<std::string_view, 13> schedule_names{
    "off",     "linear",      "linear-sqrt", "linear-square",    "equal",
    "reverse", "stagewise-0", "stagewise-L", "stagewise-sqrt-L", "stagewise-sqrt-l",
    "fix-L",   "fix-sqrt-L",  "fix-sqrt-l"};

/// clip(num / den) of whole numbers: exactly 0 and exactly 1 at the ends.
double clipped_ratio(std::int64_t num, std::int64_t den)
{
    if (num <= 0)
        return 0.0;
    return num >= den ? 1.0 : static_cast<double>(num) / static_cast<double>(den);
}

/// From `start` at ratio 0 to exactly 1 at ratio 1; ratio (1 - start) + start could miss the end by
/// a rounding.
double rise_from(double start, double ratio)
{
    return ratio >= 1.0 ? 1.0 : ratio * (1.0 - start) + start;
}

double inverse(std::int64_t n) { return 1.0 / static_cast<double>(n); }
double inverse_sqrt(std::int64_t n) { return 1.0 / std::sqrt(static_cast<double>(n)); }

} // namespace

std::span<const std::string_view> warmup_schedule_names() { return schedule_names; }

std::string_view name_of(WarmupSchedule schedule)
{
    const auto index = static_cast<std::size_t>(schedule);
    SLUICE_CHECK(index < schedule_names.size(), "warm-up schedule " << index);
    return schedule_names[index];
}

double residual_alpha(WarmupSchedule schedule, std::int64_t T, std::int64_t L, std::int64_t l,
                      std::int64_t t)
{
    SLUICE_CHECK(T >= 1 && L >= 1 && l >= 1 && l <= L && t >= 0,
                 "T " << T << ", L " << L << ", l " << l << ", t " << t);
    SLUICE_CHECK(T <= std::numeric_limits<std::int64_t>::max() / L, "T " << T << ", L " << L);
    const double first_to_last = clipped_ratio(t, T * l);
    const double in_turn = clipped_ratio(t - T * (l - 1), T);
    switch (schedule) {
    case WarmupSchedule::off: return 1.0;
    case WarmupSchedule::linear: return first_to_last;
    case WarmupSchedule::linear_sqrt: return std::sqrt(first_to_last);
    case WarmupSchedule::linear_square: return first_to_last * first_to_last;
    case WarmupSchedule::equal: return clipped_ratio(t, T);
    case WarmupSchedule::reverse: return clipped_ratio(t, T * (L - l + 1));
    case WarmupSchedule::stagewise_0: return in_turn;
    case WarmupSchedule::stagewise_L: return rise_from(inverse(L), in_turn);
    case WarmupSchedule::stagewise_sqrt_L: return rise_from(inverse_sqrt(L), in_turn);
    case WarmupSchedule::stagewise_sqrt_l: return rise_from(inverse_sqrt(l), in_turn);
    case WarmupSchedule::fix_L: return inverse(L);
    case WarmupSchedule::fix_sqrt_L: return inverse_sqrt(L);
    case WarmupSchedule::fix_sqrt_l: return inverse_sqrt(l);
    }
    SLUICE_CHECK(false, "warm-up schedule " << static_cast<int>(schedule));
    return 0.0;
}

ResidualWarmup::ResidualWarmup(WarmupSchedule schedule, std::int64_t T, std::int64_t L,
                               std::int64_t first_layer, std::int64_t num_layers,
                               std::int64_t completed_updates)
    : schedule_(schedule), T_(T), L_(L), first_layer_(first_layer)
{
    SLUICE_CHECK(first_layer >= 0 && num_layers >= 0 && first_layer + num_layers <= L,
                 "layers " << first_layer << " to " << first_layer + num_layers << " of " << L);
    counters_.assign(static_cast<std::size_t>(num_layers), completed_updates);
    alphas_.resize(counters_.size());
    recompute_alphas();
}

void ResidualWarmup::advance()
{
    for (std::int64_t& counter : counters_)
        ++counter;
    recompute_alphas();
}

void ResidualWarmup::restore(std::span<const std::int64_t> counters)
{
    SLUICE_CHECK(counters.size() == counters_.size(),
                 counters.size() << " counters for " << counters_.size() << " layers");
    counters_.assign(counters.begin(), counters.end());
    recompute_alphas();
}

void ResidualWarmup::advance_layer_out_of_step(std::int64_t owned_layer)
{
    ++counters_.at(static_cast<std::size_t>(owned_layer));
    recompute_alphas();
}

void ResidualWarmup::recompute_alphas()
{
    for (std::size_t i = 0; i < counters_.size(); ++i)
        alphas_[i] = residual_alpha(schedule_, T_, L_,
                                    first_layer_ + static_cast<std::int64_t>(i) + 1, counters_[i]);
}

} // namespace sluice
