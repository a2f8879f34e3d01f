#include "pipeline/timeline/timeline_rows.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <map>

namespace sluice {

namespace {

using Colour = std::array<double, 3>; ///< red, green, blue, 0..255

Colour colour_of(ActionKind kind)
{
    switch (kind) {
    case ActionKind::forward: return {0, 114, 178};       // blue
    case ActionKind::backward: return {230, 159, 0};      // orange
    case ActionKind::backward_input: return {213, 94, 0}; // vermilion
    default: return {0, 158, 115};                        // green
    }
}

/// Half of the way to white at most, so that numbers on it and the idle ground stay apart from it.
Colour shaded(ActionKind kind, std::int32_t place, std::int32_t places)
{
    Colour colour = colour_of(kind);
    const double pale = places > 1 ? 0.5 * place / (places - 1) : 0.0;
    for (double& part : colour)
        part += (255.0 - part) * pale;
    return colour;
}

bool is_dark(const Colour& colour)
{
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 140.0;
}

/// Numbers as short as a tenth of a pixel needs.
void append(std::string& path, double value)
{
    const auto tenths = std::llround(value * 10.0);
    if (tenths % 10 == 0)
        fmt::format_to(std::back_inserter(path), "{}", tenths / 10);
    else
        fmt::format_to(std::back_inserter(path), "{:.1f}", static_cast<double>(tenths) / 10.0);
}

/// Wide enough for its number, at 10 pixels of type.
bool holds_number(const ComputeAction& action, const RowGeometry& geometry)
{
    const double width = (action.end - action.start) * geometry.pixels_per_second;
    return geometry.row_height >= 12.0 &&
           width >= 5.8 * static_cast<double>(std::to_string(action.microbatch).size()) + 3.0;
}

void append_bar(std::string& path, double x, double y, double width, double height)
{
    path += 'M';
    append(path, x);
    path += ' ';
    append(path, y);
    path += 'h';
    append(path, width);
    path += 'v';
    append(path, height);
    path += 'h';
    append(path, -width);
    path += 'z';
}

/// Seconds that each of a row's ranks spends on each kind, per step of time.
std::array<std::vector<double>, 4>
time_by_kind(const std::vector<std::vector<ComputeAction>>& ranks, std::size_t begin,
             std::size_t end, std::size_t steps, double seconds_per_step)
{
    std::array<std::vector<double>, 4> time;
    for (auto& kind : time)
        kind.assign(steps, 0.0);
    for (std::size_t rank = begin; rank < end; ++rank)
        for (const ComputeAction& action : ranks[rank]) {
            auto& kind = time[static_cast<std::size_t>(action.kind)];
            auto step = static_cast<std::size_t>(action.start / seconds_per_step);
            double from = action.start;
            for (; step < steps && from < action.end; ++step) {
                const double to =
                    std::min(action.end, static_cast<double>(step + 1) * seconds_per_step);
                kind[step] += to - from;
                from = to;
            }
        }
    return time;
}

} // namespace

std::string bar_colour(ActionKind kind, std::int32_t place, std::int32_t places)
{
    const Colour colour = shaded(kind, place, places);
    return fmt::format("#{:02x}{:02x}{:02x}", std::lround(colour[0]), std::lround(colour[1]),
                       std::lround(colour[2]));
}

std::string bars(const std::vector<std::vector<ComputeAction>>& ranks, std::int32_t places,
                 const RowGeometry& geometry)
{
    std::map<std::pair<ActionKind, std::int32_t>, std::string> paths; // one per colour: short files
    std::string dark_numbers, light_numbers;
    for (std::size_t rank = 0; rank < ranks.size(); ++rank)
        for (const ComputeAction& action : ranks[rank]) {
            const double x = geometry.left + action.start * geometry.pixels_per_second;
            const double width = (action.end - action.start) * geometry.pixels_per_second;
            const double y = geometry.row_top(rank);
            // A hairline of ground between neighbours, where there is room for one.
            append_bar(paths[{action.kind, action.place}], x, y, width > 3.0 ? width - 0.6 : width,
                       geometry.row_height);
            if (!holds_number(action, geometry))
                continue;
            std::string& numbers =
                is_dark(shaded(action.kind, action.place, places)) ? light_numbers : dark_numbers;
            numbers += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + width / 2,
                                   y + geometry.row_height / 2 + 3.5, action.microbatch);
        }
    std::string text;
    for (const auto& [key, path] : paths)
        text += fmt::format("<path fill=\"{}\" d=\"{}\"/>\n",
                            bar_colour(key.first, key.second, places), path);
    for (const auto& [colour, numbers] :
         {std::pair("#000", &dark_numbers), std::pair("#fff", &light_numbers)})
        if (!numbers->empty())
            text += fmt::format("<g fill=\"{}\" text-anchor=\"middle\" font-size=\"10\">\n{}</g>\n",
                                colour, *numbers);
    return text;
}

std::string shares_of_time(const std::vector<std::vector<ComputeAction>>& ranks,
                           std::size_t ranks_per_row, const RowGeometry& geometry)
{
    const auto steps = static_cast<std::size_t>(geometry.width / 3.0);
    const double step_width = geometry.width / static_cast<double>(steps);
    const double seconds_per_step = step_width / geometry.pixels_per_second;
    std::array<std::string, 4> paths; // by kind
    for (std::size_t begin = 0, row = 0; begin < ranks.size(); begin += ranks_per_row, ++row) {
        const std::size_t end = std::min(ranks.size(), begin + ranks_per_row);
        const auto time = time_by_kind(ranks, begin, end, steps, seconds_per_step);
        const double pixels_per_second =
            geometry.row_height / (seconds_per_step * static_cast<double>(end - begin));
        const double floor = geometry.row_top(row) + geometry.row_height;
        std::vector<double> stacked(steps, 0.0); // pixels so far
        for (std::size_t kind = 0; kind < paths.size(); ++kind)
            for (std::size_t step = 0; step < steps;) {
                const auto tenths = [&](double pixels) { return std::llround(pixels * 10.0); };
                const double height = time[kind][step] * pixels_per_second;
                const double base = stacked[step];
                std::size_t same = step; // steps alike become one bar
                while (same < steps &&
                       tenths(time[kind][same] * pixels_per_second) == tenths(height) &&
                       tenths(stacked[same]) == tenths(base))
                    ++same;
                if (tenths(height) > 0)
                    append_bar(paths[kind], geometry.left + static_cast<double>(step) * step_width,
                               floor - base - height, static_cast<double>(same - step) * step_width,
                               height);
                for (; step < same; ++step)
                    stacked[step] += time[kind][step] * pixels_per_second;
            }
    }
    std::string text;
    for (std::size_t kind = 0; kind < paths.size(); ++kind)
        if (!paths[kind].empty())
            text += fmt::format("<path fill=\"{}\" d=\"{}\"/>\n",
                                bar_colour(static_cast<ActionKind>(kind), 0, 1), paths[kind]);
    return text;
}

} // namespace sluice
