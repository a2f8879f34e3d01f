// The clock that a rank's times are read from.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

/// Nanoseconds of the steady clock.
inline std::int64_t steady_now_ns()
{
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

} // namespace sluice
