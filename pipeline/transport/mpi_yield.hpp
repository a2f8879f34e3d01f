// Open MPI spins while it waits; on fewer cores than ranks that takes the core from the rank that
// is being waited for.
#pragma once

// The C interface only, as in mpi_message_type.hpp.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace sluice {

/// Whether others want the cores that ranks would wait on: this machine runs more ranks of the job
/// than they have cores, as far as the launcher tells. Whoever knows better says so by Open MPI's
/// setting mpi_yield_when_idle, as when several jobs run on one workstation.
bool ranks_share_cores();

/// Before MPI starts: where ranks_share_cores(), asks Open MPI to yield while waiting.
void yield_when_cores_are_shared();

/// Waits like MPI_Wait, but sleeps between looks: a rank that only yields takes its turn from those
/// that compute again and again. Costs up to about 0.1 ms of latency.
int wait_patiently(MPI_Request& request, MPI_Status& status);

/// Cores that the ranks of this machine share, as far as their affinity says. A launcher that
/// pins each rank to a core of its own pins them more narrowly than itself, so the parent process
/// counts too.
int cores_of_this_machine();

} // namespace sluice
