#include "pipeline/timeline/timeline_text.hpp"

#include "core/error.hpp"
#include "pipeline/timeline/compute_actions.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <vector>

namespace sluice {

namespace {

char letter_of(const ComputeAction& action)
{
    const char upper = text_of(Action{action.kind, 0, 0})[1];
    return action.place % 2 == 0 ? upper : static_cast<char>(upper - 'A' + 'a');
}

std::string label_of(const ComputeAction& action)
{
    return letter_of(action) + std::to_string(action.microbatch);
}

/// How many columns stand for how much time, and whether labels fit.
struct Scale {
    double columns_per_second = 0.0;
    std::int32_t columns = 0;
    bool labelled = false;
    double column_of(double seconds) const { return seconds * columns_per_second; }
};

/// As wide as the terminal allows; where the shortest action can have whole columns, it gets them.
Scale scale_of(const std::vector<std::vector<ComputeAction>>& ranks, double total,
               std::int32_t columns)
{
    double shortest = total;
    std::size_t longest_label = 0;
    for (const auto& actions : ranks)
        for (const ComputeAction& action : actions)
            if (action.end > action.start) {
                shortest = std::min(shortest, action.end - action.start);
                longest_label = std::max(longest_label, label_of(action).size());
            }
    Scale scale{columns / total, columns, false};
    const double per_shortest = std::floor(scale.column_of(shortest));
    if (per_shortest >= 1.0) {
        scale.columns_per_second = per_shortest / shortest;
        scale.columns = static_cast<std::int32_t>(std::ceil(scale.column_of(total) - 1e-6));
        scale.labelled = per_shortest >= static_cast<double>(longest_label);
    }
    return scale;
}

std::string labelled_line(const std::vector<ComputeAction>& actions, const Scale& scale)
{
    std::string line(static_cast<std::size_t>(scale.columns), '.');
    for (const ComputeAction& action : actions) {
        const auto begin = static_cast<std::size_t>(std::lround(scale.column_of(action.start)));
        const auto end = static_cast<std::size_t>(std::lround(scale.column_of(action.end)));
        const std::string label = label_of(action);
        for (std::size_t at = begin; at < std::min(end, line.size()); ++at)
            line[at] = at - begin < label.size() ? label[at - begin] : '-';
    }
    return line;
}

/// How far each letter's columns lag behind its share of the time so far, in columns.
struct Lag {
    char letter;
    double columns;
    bool present; ///< in the column at hand
};

/// Each column shows, of the letters (or idle) that it holds, the one that lags most: so that what
/// is shorter than a column still appears as often as its share of the time.
std::string sampled_line(const std::vector<ComputeAction>& actions, const Scale& scale)
{
    std::string line;
    std::vector<Lag> lags{{'.', 0.0, false}};
    const auto add = [&](char letter, double share) {
        auto known = std::find_if(lags.begin(), lags.end(),
                                  [&](const Lag& lag) { return lag.letter == letter; });
        if (known == lags.end())
            known = lags.insert(lags.end(), {letter, 0.0, false});
        known->columns += share;
        known->present = known->present || share > 1e-6;
    };
    std::size_t next = 0;
    for (std::int32_t column = 0; column < scale.columns; ++column) {
        for (Lag& lag : lags)
            lag.present = false;
        double idle = 1.0;
        for (; next < actions.size(); ++next) {
            const double begin = std::max<double>(column, scale.column_of(actions[next].start));
            const double end = std::min(column + 1.0, scale.column_of(actions[next].end));
            if (end > begin) {
                add(letter_of(actions[next]), end - begin);
                idle -= end - begin;
            }
            if (scale.column_of(actions[next].end) > column + 1.0)
                break; // goes on in the next column
        }
        add('.', idle);
        const auto most =
            std::max_element(lags.begin(), lags.end(), [](const Lag& a, const Lag& b) {
                return std::pair(a.present, a.columns) < std::pair(b.present, b.columns);
            });
        line += most->letter;
        most->columns -= 1.0;
    }
    return line;
}

} // namespace

std::string timeline_text(const Schedule& schedule, const Simulation& simulation,
                          const TimelineTextOptions& options)
{
    const auto ranks = compute_actions(schedule, simulation);
    if (simulation.total <= 0.0)
        return {};
    const std::int32_t num_ranks = schedule.num_ranks();
    const auto digits = static_cast<std::int32_t>(std::to_string(num_ranks - 1).size());
    const std::int32_t columns = options.columns - digits - 7; // "rank N |"
    SLUICE_CHECK(columns >= 8 && options.most_lines >= 1, options.columns << " columns");
    const Scale scale = scale_of(ranks, simulation.total, columns);

    const std::int32_t lines = std::min(num_ranks, options.most_lines);
    std::string text;
    for (std::int32_t line = 0; line < lines; ++line) {
        // The first and the last rank are always there.
        const auto rank = static_cast<std::size_t>(
            lines == 1 ? 0 : static_cast<std::int64_t>(line) * (num_ranks - 1) / (lines - 1));
        text += fmt::format("rank {:>{}} |{}\n", rank, digits,
                            scale.labelled ? labelled_line(ranks[rank], scale)
                                           : sampled_line(ranks[rank], scale));
    }
    text +=
        fmt::format("{:{}}  {} in all; one column is {}\n", "", digits + 5,
                    seconds_text(simulation.total), seconds_text(1.0 / scale.columns_per_second));
    if (lines < num_ranks)
        text += fmt::format("{:{}}  {} of {} ranks\n", "", digits + 5, lines, num_ranks);
    return text;
}

} // namespace sluice
