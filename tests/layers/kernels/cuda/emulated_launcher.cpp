#include "tests/layers/kernels/cuda/emulated_launcher.hpp"

namespace sluice::testing {

namespace {

#ifdef SLUICE_CHECK_RACES
RaceChecker checker;
RaceChecker* const races = &checker;
#else
RaceChecker* const races = nullptr;
#endif

BlockExecutor executors[2][2] = {
    {BlockExecutor{ThreadOrder::ascending, CopyArrival::late, races},
     BlockExecutor{ThreadOrder::ascending, CopyArrival::early, races}},
    {BlockExecutor{ThreadOrder::descending, CopyArrival::late, races},
     BlockExecutor{ThreadOrder::descending, CopyArrival::early, races}}};

} // namespace

BlockExecutor& executor_of(const EmulatedGpu& gpu)
{
    return executors[gpu.order == ThreadOrder::descending][gpu.arrival == CopyArrival::early];
}

} // namespace sluice::testing
