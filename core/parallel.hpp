// Loops over independent items on this rank's threads.
//
// The result never depends on the number of threads: an item is computed whole by one thread, and
// anything that adds across items adds in item order afterwards.
#pragma once

#include <cstdint>

namespace sluice {

/// Threads for parallel_for and the matmul library, at least 1, where the calling thread runs them.
/// Each thread has its own number; until it is set, that is all the cores there are.
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
