// The number in the middle. Of an even count there are two: each caller says which it means.
#pragma once

#include "core/error.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace sluice {

/// The smallest but `index`. Reorders.
inline double nth_smallest(std::vector<double>& values, std::size_t index)
{
    SLUICE_CHECK(index < values.size(), "number " << index << " of " << values.size());
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(index);
    std::nth_element(values.begin(), place, values.end());
    return *place;
}

/// Of at least one value. Reorders, and takes no memory.
inline double lower_median(std::vector<double>& values)
{
    return nth_smallest(values, (std::max<std::size_t>(values.size(), 1) - 1) / 2);
}
/// Of at least one value.
inline double upper_median(std::vector<double> values)
{
    return nth_smallest(values, values.size() / 2);
}

} // namespace sluice
