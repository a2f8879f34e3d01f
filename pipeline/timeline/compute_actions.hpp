// What a drawing shows of a schedule: each rank's forward and backward work, with its times.
#pragma once

#include "pipeline/simulator.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct ComputeAction {
    ActionKind kind = ActionKind::forward;
    std::int32_t place = 0; ///< of the chunk among its rank's, from 0
    std::int32_t microbatch = 0;
    double start = 0.0, end = 0.0; ///< seconds
};

/// [rank], in order of time. `simulation` must hold each action's times.
std::vector<std::vector<ComputeAction>> compute_actions(const Schedule& schedule,
                                                        const Simulation& simulation);

/// "1.25 s", "12.5 ms", "3.20 us": three digits.
std::string seconds_text(double seconds);

} // namespace sluice
