#include "src/process/started_ranks.hpp"

#include <cstdlib>

namespace sluice {

namespace {

constexpr const char* mark = "SLUICE_STARTED_RANKS"; ///< in the environment

} // namespace

void mark_started_ranks() { setenv(mark, "1", 1); }

bool started_by_launch_ranks() { return std::getenv(mark) != nullptr; }

} // namespace sluice
