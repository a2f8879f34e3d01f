// Which checkpoint a run goes back to when an update met an anomaly.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace sluice {

/// Collective. The newest whole checkpoint of at most `update` completed updates (damaged ones are
/// named in the log and passed over). Throws UpdateRefused on every rank when there is none, with
/// `why` the run wants to go back.
std::filesystem::path checkpoint_to_rewind_to(const std::filesystem::path& checkpoints,
                                              std::int64_t update, const std::string& why,
                                              Transport& transport);

} // namespace sluice
