// Loops over independent items on this rank's threads.
//
// The result never depends on the number of threads: an item is computed whole by one thread, and
// anything that adds across items adds in item order afterwards.
#pragma once

#include <cstdint>

namespace sluice {

/// Threads for parallel_for and the matmul library on this rank (at least 1).
void set_num_threads(int num_threads);
int num_threads();

/// Calls body(i) for every i in [0, count), each exactly once. `body` must not throw.
template <class Body>
void parallel_for(std::int64_t count, Body&& body)
{
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < count; ++i)
        body(i);
}

} // namespace sluice
