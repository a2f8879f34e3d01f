#include "pipeline/timeline/timeline_svg.hpp"

#include "core/error.hpp"
#include "pipeline/timeline/timeline_rows.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <set>

namespace sluice {

namespace {

constexpr std::size_t most_rows = 64;
constexpr double thinnest_bar = 2.5; ///< pixels, on average
constexpr double right_margin = 24.0;
constexpr double most_height = 640.0; ///< of all rows

std::string escaped(const std::string& plain)
{
    std::string text;
    for (const char c : plain)
        switch (c) {
        case '&': text += "&amp;"; break;
        case '<': text += "&lt;"; break;
        case '>': text += "&gt;"; break;
        case '"': text += "&quot;"; break;
        default: text += c;
        }
    return text;
}

const char* name_of_work(ActionKind kind)
{
    switch (kind) {
    case ActionKind::forward: return "forward";
    case ActionKind::backward: return "backward";
    case ActionKind::backward_input: return "input gradient";
    default: return "weight gradient";
    }
}

struct Contents {
    std::set<ActionKind> kinds;
    std::int32_t places = 1; ///< chunks per rank
    std::size_t num_actions = 0;
    double work = 0.0; ///< seconds, all ranks
};

Contents contents_of(const std::vector<std::vector<ComputeAction>>& ranks)
{
    Contents contents;
    for (const auto& actions : ranks)
        for (const ComputeAction& action : actions) {
            contents.kinds.insert(action.kind);
            contents.places = std::max(contents.places, action.place + 1);
            contents.work += action.end - action.start;
        }
    for (const auto& actions : ranks)
        contents.num_actions += actions.size();
    return contents;
}

/// A swatch per kind and chunk of a rank, one for idle time.
std::string legend(const Contents& contents, bool summed_up, double x, double y)
{
    const std::int32_t places = summed_up ? 1 : contents.places;
    std::string text;
    const auto swatch = [&](const std::string& colour) {
        text += fmt::format("<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"14\" height=\"12\" "
                            "fill=\"{}\"/>\n",
                            x, y - 10.0, colour);
        x += 15.0;
    };
    const auto say = [&](const std::string& words) {
        text += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n", x + 4.0, y, words);
        x += 20.0 + 6.4 * static_cast<double>(words.size());
    };
    for (const ActionKind kind : contents.kinds) {
        for (std::int32_t place = 0; place < std::min(places, 8); ++place)
            swatch(bar_colour(kind, place, places));
        say(name_of_work(kind));
    }
    swatch("#ececec");
    say("idle");
    if (places > 1)
        say("paler: a rank's later chunks");
    return text;
}

/// Ticks at 1, 2 or 5 times a power of ten, at least 80 pixels apart.
std::string axis(const RowGeometry& geometry, double total, double y)
{
    const double least = 80.0 / geometry.pixels_per_second;
    double step = std::pow(10.0, std::floor(std::log10(least)));
    for (const double factor : {1.0, 2.0, 5.0, 10.0})
        if (step * factor >= least) {
            step *= factor;
            break;
        }
    const double unit = total >= 1.0 ? 1.0 : total >= 1e-3 ? 1e-3 : 1e-6;
    const char* unit_name = unit == 1.0 ? "s" : unit == 1e-3 ? "ms" : "us";
    std::string text =
        fmt::format("<path stroke=\"#444\" fill=\"none\" d=\"M{:.1f} {:.1f}h{:.1f}\"/>\n",
                    geometry.left, y, geometry.width);
    for (int tick = 0; tick * step <= total * (1.0 + 1e-9); ++tick) {
        const double x = geometry.left + tick * step * geometry.pixels_per_second;
        text +=
            fmt::format("<path stroke=\"#444\" d=\"M{:.1f} {:.1f}v5\"/>"
                        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g} {}</text>\n",
                        x, y, x, y + 17.0, std::round(tick * step / unit * 1e6) / 1e6, unit_name);
    }
    return text;
}

std::string row_names(std::size_t num_ranks, std::size_t rows, std::size_t ranks_per_row,
                      const RowGeometry& geometry)
{
    // Every row that leaves room for its name.
    const auto every = static_cast<std::size_t>(
        std::max(1.0, std::ceil(12.0 / (geometry.row_height + geometry.row_gap))));
    std::string text = "<g text-anchor=\"end\">\n";
    for (std::size_t row = 0; row < rows; row += every) {
        const std::size_t first = row * ranks_per_row;
        const std::size_t last = std::min(num_ranks, first + ranks_per_row) - 1;
        text += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", geometry.left - 6.0,
                            geometry.row_top(row) + geometry.row_height / 2 + 4.0,
                            first == last ? fmt::format("{}", first)
                                          : fmt::format("{}-{}", first, last));
    }
    return text + "</g>\n";
}

std::string ground(std::size_t rows, const RowGeometry& geometry)
{
    std::string path;
    for (std::size_t row = 0; row < rows; ++row)
        path += fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", geometry.left,
                            geometry.row_top(row), geometry.width, geometry.row_height,
                            -geometry.width);
    return "<path fill=\"#ececec\" d=\"" + path + "\"/>\n";
}

} // namespace

std::string timeline_svg(const Schedule& schedule, const Simulation& simulation,
                         const TimelineSvgOptions& options)
{
    const auto ranks = compute_actions(schedule, simulation);
    const Contents contents = contents_of(ranks);
    const auto num_ranks = ranks.size();
    const double total = std::max(simulation.total, 1e-12);

    RowGeometry geometry;
    const std::size_t digits = std::to_string(num_ranks - 1).size();
    geometry.left = 24.0 + 7.0 * static_cast<double>(2 * digits + 1) + 14.0;
    geometry.width = options.width - geometry.left - right_margin;
    SLUICE_CHECK(geometry.width > 100.0, "a picture " << options.width << " pixels wide");
    geometry.pixels_per_second = geometry.width / total;
    const double actions_per_row =
        static_cast<double>(contents.num_actions) / static_cast<double>(num_ranks);
    const bool summed_up = num_ranks > most_rows || actions_per_row * thinnest_bar > geometry.width;
    const std::size_t ranks_per_row = (num_ranks + most_rows - 1) / most_rows;
    const std::size_t rows = (num_ranks + ranks_per_row - 1) / ranks_per_row;
    const double pitch = std::clamp(most_height / static_cast<double>(rows), 10.0, 30.0);
    geometry.row_gap = pitch >= 20.0 ? 4.0 : 1.0;
    geometry.row_height = pitch - geometry.row_gap;
    geometry.top = options.title.empty() ? 34.0 : 58.0;
    const double bottom = geometry.row_top(rows);

    std::string svg =
        fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" "
                    "viewBox=\"0 0 {0} {1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\" "
                    "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
                    options.width, bottom + 44.0);
    if (!options.title.empty())
        svg += fmt::format("<text x=\"{:.0f}\" y=\"24\" font-size=\"15\">{}</text>\n",
                           geometry.left, escaped(options.title));
    svg += legend(contents, summed_up, geometry.left, geometry.top - 12.0);
    svg += fmt::format("<text transform=\"translate(16 {:.1f}) rotate(-90)\" "
                       "text-anchor=\"middle\">rank</text>\n",
                       (geometry.top + bottom) / 2);
    svg += row_names(num_ranks, rows, ranks_per_row, geometry);
    svg += ground(rows, geometry);
    svg += summed_up ? shares_of_time(ranks, ranks_per_row, geometry)
                     : bars(ranks, contents.places, geometry);
    svg += axis(geometry, total, bottom + 2.0);
    svg += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\" fill=\"#444\">{} in all, ranks busy "
        "{:.1f}% of it{}</text>\n",
        geometry.left + geometry.width, bottom + 36.0, seconds_text(total),
        100.0 * contents.work / (total * static_cast<double>(num_ranks)),
        summed_up ? "; heights are shares of time" : "");
    return svg + "</svg>\n";
}

} // namespace sluice
