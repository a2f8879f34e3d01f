// Every key of a run file, once: reading, writing, comparing and docs/run-file.md follow this
// table.
#pragma once

#include "src/config/config_value.hpp"
#include "src/config/run_config.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// Whether a stopped run may continue with another value.
enum class KeyEffect : std::uint8_t {
    layout,   ///< may change: the result stays the same to the bit
    rounding, ///< may change: from there on sums are rounded in another order, as a warning says
    result,   ///< changes the result: a resume is refused
};

struct RunKey {
    std::string_view section, name;
    KeyEffect effect;
    /// Checks type and range and sets the field(s). Throws UserError (usage).
    std::function<void(RunConfig&, const ConfigValue&)> set;
    /// The value to write out; empty for a second way of giving another key.
    std::function<ConfigPayload(const RunConfig&)> get;

    std::string full_name() const { return std::string(section) + "." + std::string(name); }
};

/// In the order in which a resolved run file lists them.
const std::vector<RunKey>& run_keys();

std::vector<std::string> section_names();
std::vector<std::string> key_names(std::string_view section);
/// nullptr when there is none.
const RunKey* find_run_key(std::string_view section, std::string_view name);

/// The names in run files, in the order of the enumerations.
std::string_view name_of(LearningRateKind kind);
std::string_view name_of(PipelineScheduleKind kind);
std::string_view name_of(Recompute recompute);
std::string_view name_of(ComputePrecision precision);
std::string_view name_of(AnomalyResponse response);

} // namespace sluice
