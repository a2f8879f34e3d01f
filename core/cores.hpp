// The cores that a process may run on.
#pragma once

#include <sys/types.h>
#include <vector>

namespace sluice {

/// Their numbers, ascending; 0 is this process. Empty where the kernel does not say.
std::vector<int> cores_of(pid_t process);

/// How many this process may run on; at least 1.
int num_own_cores();

} // namespace sluice
