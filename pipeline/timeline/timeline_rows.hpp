// The rows of an SVG timeline: every action as a bar, or shares of time where there are too many.
#pragma once

#include "pipeline/timeline/compute_actions.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

/// Where the rows lie, in pixels.
struct RowGeometry {
    double left = 0.0, top = 0.0, width = 0.0; ///< `width` is the whole update's
    double row_height = 0.0, row_gap = 0.0;
    double pixels_per_second = 0.0;
    double row_top(std::size_t row) const
    {
        return top + static_cast<double>(row) * (row_height + row_gap);
    }
};

/// "#rrggbb" of a kind of work on a rank's chunk number `place`; the later of `places` are paler.
std::string bar_colour(ActionKind kind, std::int32_t place, std::int32_t places);

/// One row per rank.
std::string bars(const std::vector<std::vector<ComputeAction>>& ranks, std::int32_t places,
                 const RowGeometry& geometry);

/// One row per `ranks_per_row` ranks.
std::string shares_of_time(const std::vector<std::vector<ComputeAction>>& ranks,
                           std::size_t ranks_per_row, const RowGeometry& geometry);

} // namespace sluice
