// The Open MPI that lies beside the program in a bundle (./dev bundle).
#pragma once

#include <filesystem>

namespace sluice {

/// Where `program` is <prefix>/bin/NAME, and <prefix>/lib/x86_64-linux-gnu/openmpi and
/// <prefix>/etc/openmpi are there too: tells Open MPI and PMIx that they lie below <prefix>, and
/// looks for mpirun there first, in this process and those it starts. Nothing elsewhere, or where
/// OPAL_PREFIX says something already. Before MPI starts, and while there is one thread.
void use_bundled_mpirun(const std::filesystem::path& program);

} // namespace sluice
