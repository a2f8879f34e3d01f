// What tests on several ranks share: MPI can be initialised once per process.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <cstdint>

namespace sluice::testing {

/// The one MPI transport of this process, made before the first test.
Transport& shared_transport();

/// Point-to-point messages this process has started so far, counted at MPI's profiling interface.
std::int64_t sends_started();
std::int64_t receives_started();

} // namespace sluice::testing
