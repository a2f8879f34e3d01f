// Deliberate faults, to show that the run notices: `sluice train --inject`.
#pragma once

#include "pipeline/executor.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/stage.hpp"

#include <cstdint>

namespace sluice {

struct FaultInjection {
    enum class Kind : std::uint8_t {
        none,
        nan_gradient,
        flip_activation,
        flip_gradient,
        flip_weight,
        flip_exchange,
        advance_gate,
        hang, ///< the rank with the layer goes on no further
        slow  ///< the rank with the layer computes as slowly as three
    };
    Kind kind = Kind::none;
    std::int64_t first_update = 0, last_update = 0; ///< counted from 1
    std::int64_t layer =
        0; ///< counted from 0; flips hit the message that enters this layer's stage
    int replica = 0;
};

/// Does what `fault` says in `update` where this rank, of `replica`, has the layer. To be called
/// when any update begins.
void inject(const FaultInjection& fault, std::int64_t update, int replica, Stage& stage,
            Executor& executor, GradientExchange& exchange);

} // namespace sluice
