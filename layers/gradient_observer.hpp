// Told which gradients are final while the rest of a backward pass still runs, so that their
// reduction over replicas can start at once.
#pragma once

#include "layers/parameter.hpp"

#include <span>

namespace sluice {

class GradientObserver {
public:
    virtual ~GradientObserver() = default;
    /// The running call adds nothing more to the gradients of `parameters`, neighbours in the
    /// order of the chunk's parameters(). One call with an observer names every parameter of the
    /// chunk once: those of final norm and head first, then layer by layer from the last to the
    /// first, the embedding at the end.
    virtual void gradients_done(std::span<const Parameter> parameters) = 0;
};

} // namespace sluice
