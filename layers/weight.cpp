#include "layers/weight.hpp"

#include <algorithm>

namespace sluice {

namespace {

std::size_t place_of(std::span<const Parameter> parameters, std::string_view name)
{
    const auto found =
        std::find_if(parameters.begin(), parameters.end(),
                     [&](const Parameter& parameter) { return parameter.spec.name == name; });
    SLUICE_CHECK(found != parameters.end(), "no parameter " << name);
    return static_cast<std::size_t>(found - parameters.begin());
}

} // namespace

Weight weight_of(std::span<const Parameter> parameters, std::string_view name)
{
    const Parameter& parameter = parameters[place_of(parameters, name)];
    return {parameter.value, parameter.gradient};
}

Weight joined_weight_of(std::span<const Parameter> parameters, std::string_view first_name)
{
    const std::size_t first = place_of(parameters, first_name);
    Weight weight{parameters[first].value, parameters[first].gradient};
    std::int64_t rows = weight.value.shape[0];
    for (std::size_t i = first + 1; i < parameters.size() && parameters[i].spec.continues; ++i) {
        SLUICE_CHECK(parameters[i].value.shape[1] == weight.value.shape[1],
                     parameters[i].spec.name << " is " << parameters[i].value.shape.text());
        rows += parameters[i].value.shape[0];
    }
    weight.value.shape = weight.gradient.shape = {rows, weight.value.shape[1]};
    return weight;
}

} // namespace sluice
