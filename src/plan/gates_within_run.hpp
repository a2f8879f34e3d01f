// How far ProRes comes within a run.
#pragma once

#include "src/config/run_config.hpp"

#include <string>

namespace sluice {

/// A warning where gates that open in time do not come as far as they would by the last update;
/// otherwise nothing.
std::string gates_that_stay_behind(const RunConfig& config);

} // namespace sluice
