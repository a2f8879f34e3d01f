#include "tests/layers/kernels/cuda/emulated_launcher.hpp"

namespace sluice::testing {

namespace {

#ifdef SLUICE_CHECK_RACES
constexpr bool checks_races = true;
#else
constexpr bool checks_races = false;
#endif

RaceChecker checker;
RaceChecker* const races = checks_races ? &checker : nullptr;

BlockExecutor executors[2][2] = {
    {BlockExecutor{ThreadOrder::ascending, CopyArrival::late, races},
     BlockExecutor{ThreadOrder::ascending, CopyArrival::early, races}},
    {BlockExecutor{ThreadOrder::descending, CopyArrival::late, races},
     BlockExecutor{ThreadOrder::descending, CopyArrival::early, races}}};

} // namespace

bool races_are_found() { return checks_races; }

BlockExecutor& executor_of(const EmulatedGpu& gpu)
{
    return executors[gpu.order == ThreadOrder::descending][gpu.arrival == CopyArrival::early];
}

} // namespace sluice::testing
