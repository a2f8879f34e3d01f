// What mpirun needs of this machine. Where it is missing, Open MPI hangs (open files) or fails with
// a wall of its own source lines (its folder, the size of files), and never says the cause.
#pragma once

namespace sluice {

/// Raises the soft limit on open files as far as `num_ranks` ranks need it. Throws UserError
/// (usage) where limits of this shell, or the folder for temporary files, leave mpirun no room.
void refuse_unlaunchable(int num_ranks);

} // namespace sluice
