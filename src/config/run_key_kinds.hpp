// Kinds of keys in a run file: how their values are read, checked and written. For the table of
// keys (recipe_keys.cpp and running_keys.cpp).
#pragma once

#include "core/error.hpp"
#include "src/config/run_key.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace sluice {

using Names = std::vector<std::string>;

/// `field`, here and below: a generic lambda from a RunConfig (const or not) to a reference.
template <typename Field>
RunKey integer_key(std::string_view section, std::string_view name, KeyEffect effect, Field field,
                   std::int64_t low, std::int64_t high)
{
    return {section, name, effect,
            [field, low, high](RunConfig& config, const ConfigValue& value) {
                using Type = std::remove_reference_t<decltype(field(config))>;
                field(config) = static_cast<Type>(integer_in(value, low, high));
            },
            [field](const RunConfig& config) -> ConfigPayload {
                return static_cast<std::int64_t>(field(config));
            }};
}

template <typename Field>
RunKey real_key(std::string_view section, std::string_view name, KeyEffect effect, Field field,
                RealRange range)
{
    return {section, name, effect,
            [field, range](RunConfig& config, const ConfigValue& value) {
                field(config) = real_in(value, range);
            },
            [field](const RunConfig& config) -> ConfigPayload { return field(config); }};
}

template <typename Field>
RunKey boolean_key(std::string_view section, std::string_view name, KeyEffect effect, Field field)
{
    return {
        section, name, effect,
        [field](RunConfig& config, const ConfigValue& value) { field(config) = boolean_of(value); },
        [field](const RunConfig& config) -> ConfigPayload { return field(config); }};
}

/// An enumeration whose names stand in the enumeration's order.
template <typename Field>
RunKey choice_key(std::string_view section, std::string_view name, KeyEffect effect, Field field,
                  Names names, std::vector<UnavailableChoice> unavailable = {})
{
    return {section, name, effect,
            [field, names, unavailable](RunConfig& config, const ConfigValue& value) {
                using Type = std::remove_reference_t<decltype(field(config))>;
                field(config) = static_cast<Type>(choice_of(value, names, unavailable));
            },
            [field, names](const RunConfig& config) -> ConfigPayload {
                return names.at(static_cast<std::size_t>(field(config)));
            }};
}

/// true, false or "auto"; `automatic_is`: what the last stands for, in words.
template <typename Field>
RunKey switch_key(std::string_view section, std::string_view name, KeyEffect effect, Field field,
                  std::string automatic_is)
{
    return {section, name, effect,
            [field, automatic_is](RunConfig& config, const ConfigValue& value) {
                const auto* const text = std::get_if<std::string>(&value.payload);
                if (const bool* const given = std::get_if<bool>(&value.payload))
                    field(config) = *given ? Switch::on : Switch::off;
                else if (text != nullptr && *text == "auto")
                    field(config) = Switch::automatic;
                else
                    throw usage_error("expected true, false or \"auto\"", value.where,
                                      "write true, false, or \"auto\" for " + automatic_is);
            },
            [field](const RunConfig& config) -> ConfigPayload {
                if (field(config) == Switch::automatic)
                    return std::string("auto");
                return field(config) == Switch::on;
            }};
}

template <typename Field>
RunKey path_key(std::string_view section, std::string_view name, KeyEffect effect, Field field)
{
    return {
        section, name, effect,
        [field](RunConfig& config, const ConfigValue& value) { field(config) = path_of(value); },
        [field](const RunConfig& config) -> ConfigPayload { return field(config).string(); }};
}

} // namespace sluice
