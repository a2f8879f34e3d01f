// What one AdamW update reads and writes, for its unit test (Tensor: Twin) and its conformance test
// (Tensor: Operand).
#pragma once

#include "layers/kernels/adamw.hpp"

#include <cmath>

namespace sluice::testing {

template <class Tensor>
struct AdamWTensors {
    Tensor weight, gradient, first_moment, second_moment;

    /// Called with the side to launch on: `side(tensor)` is a view. `number` counts from 1.
    auto update(int number)
    {
        return [this, number](auto side) {
            return kernels::AdamW{.weight = side(weight),
                                  .gradient = side(gradient),
                                  .first_moment = side(first_moment),
                                  .second_moment = side(second_moment),
                                  .gradient_scale = 0.75,
                                  .lr = 0.01,
                                  .beta1 = 0.9,
                                  .beta2 = 0.95,
                                  .eps = 1e-8,
                                  .weight_decay = 0.1,
                                  .bias_correction1 = 1.0 - std::pow(0.9, number),
                                  .bias_correction2 = 1.0 - std::pow(0.95, number)};
        };
    }
};

} // namespace sluice::testing
