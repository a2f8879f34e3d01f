#include "pipeline/timeline/compute_actions.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace sluice {

std::vector<std::vector<ComputeAction>> compute_actions(const Schedule& schedule,
                                                        const Simulation& simulation)
{
    SLUICE_CHECK(simulation.times.size() == schedule.actions.size(),
                 "times of " << simulation.times.size() << " ranks for "
                             << schedule.actions.size());
    std::vector<std::int32_t> place, chunks_of_rank(schedule.actions.size(), 0);
    for (const std::int32_t rank : schedule.rank_of_chunk)
        place.push_back(chunks_of_rank[static_cast<std::size_t>(rank)]++);
    std::vector<std::vector<ComputeAction>> ranks(schedule.actions.size());
    for (std::size_t rank = 0; rank < ranks.size(); ++rank)
        for (std::size_t i = 0; i < schedule.actions[rank].size(); ++i) {
            const Action& action = schedule.actions[rank][i];
            if (computes(action.kind))
                ranks[rank].push_back({action.kind, place[static_cast<std::size_t>(action.chunk)],
                                       action.microbatch, simulation.times[rank][i].start,
                                       simulation.times[rank][i].end});
        }
    return ranks;
}

std::string seconds_text(double seconds)
{
    const auto digits = [](double value, const char* unit) {
        const double size = std::abs(value);
        return fmt::format("{:.{}f} {}", value, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, unit);
    };
    const double size = std::abs(seconds);
    if (size >= 0.9995 || size == 0.0)
        return digits(seconds, "s");
    return size >= 0.9995e-3 ? digits(seconds * 1e3, "ms") : digits(seconds * 1e6, "us");
}

} // namespace sluice
