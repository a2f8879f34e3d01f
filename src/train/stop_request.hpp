// Requests to stop: Ctrl-C, TERM and USR1 set a flag that the trainer reads at the next update
// boundary, where all ranks agree.
#pragma once

#include <string>

namespace sluice {

/// Installs the handlers. A second Ctrl-C more than a second after the first ends the process at
/// once.
void watch_stop_signals();
bool stop_requested();
/// "SIGTERM", or empty.
std::string stop_reason();

} // namespace sluice
