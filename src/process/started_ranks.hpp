// How ranks know that `sluice train --ranks` started them.
#pragma once

namespace sluice {

/// In the process that becomes mpirun, which hands it on to the ranks of its machine.
void mark_started_ranks();

/// In a rank on the launcher's machine: the launcher speaks for all, and leaves word of signals.
bool started_by_launch_ranks();

} // namespace sluice
