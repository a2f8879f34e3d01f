// Loops whose items call oneDNN.
//
// Left to thread by itself oneDNN splits some products along K by the number of threads, and with
// it changes bits. So every call runs on one thread, inside a parallel loop.
#pragma once

#include "core/parallel.hpp"

#include <atomic>
#include <cstdint>
#include <dnnl.h>
#include <omp.h>

namespace sluice::kernels {

/// call(i), which returns the library's status, for every i in [0, count). The status of one that
/// failed, dnnl_success where none did.
template <class Call>
dnnl_status_t parallel_calls(std::int64_t count, Call&& call)
{
    std::atomic<dnnl_status_t> result{dnnl_success};
    parallel_for(count, [&](std::int64_t i) {
        // The limit belongs to this thread's part of the loop alone: it keeps oneDNN on one thread
        // also where the loop itself has but one and does not count as parallel.
        omp_set_num_threads(1);
        if (const dnnl_status_t status = call(i); status != dnnl_success)
            result = status;
    });
    return result;
}

} // namespace sluice::kernels
