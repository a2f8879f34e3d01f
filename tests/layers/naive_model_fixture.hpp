// The paper's forward equations in plain loops, without any of the kernels: what the layers must
// agree with.
#pragma once

#include "tests/layers/layer_fixture.hpp"

namespace sluice::testing {

struct NaiveResult {
    double loss_sum = 0.0;
    std::vector<std::vector<double>> streams; ///< [num_layers][N*C] behind each layer
};

/// One micro-batch through the whole model whose parameters `chunk` owns (float64).
NaiveResult naive_forward(ModelChunk& chunk, const std::vector<double>& alphas);

} // namespace sluice::testing
