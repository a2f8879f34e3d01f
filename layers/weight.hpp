// A weight as one product or norm sees it: its numbers and where their gradient adds up.
#pragma once

#include "layers/parameter.hpp"

#include <span>
#include <string_view>

namespace sluice {

struct Weight {
    TensorView value;
    TensorView gradient; ///< same shape; every layer ACCUMULATES into it
    bool empty() const { return value.empty(); }
};

/// The parameter of that name; a wrong name is a broken invariant.
Weight weight_of(std::span<const Parameter> parameters, std::string_view name);

/// The parameter of that name together with the ones that continue it in memory, as one matrix
/// [sum of out, in].
Weight joined_weight_of(std::span<const Parameter> parameters, std::string_view first_name);

} // namespace sluice
