// What one attention reads and writes, for its unit test (Tensor: Twin) and its conformance test
// (Tensor: Operand).
#pragma once

#include "layers/kernels/attention.hpp"
#include "layers/kernels/rotary.hpp"

namespace sluice::testing {

template <class Tensor>
struct AttentionTensors {
    Tensor qkv, out, logsumexp, dout, row_dot, cos, sin, qkv_gradient;

    /// All are called with the side to launch on: `side(tensor)` is a view.
    auto table()
    {
        return
            [this](auto side) { return kernels::RotaryTable{.cos = side(cos), .sin = side(sin)}; };
    }
    auto forward()
    {
        return [this](auto side) {
            return kernels::AttentionForward{
                .qkv = side(qkv), .out = side(out), .logsumexp = side(logsumexp)};
        };
    }
    auto backward()
    {
        return [this](auto side) {
            return kernels::AttentionBackward{.dout = side(dout),
                                              .qkv = side(qkv),
                                              .out = side(out),
                                              .logsumexp = side(logsumexp),
                                              .row_dot = side(row_dot),
                                              .cos = side(cos),
                                              .sin = side(sin),
                                              .qkv_gradient = side(qkv_gradient)};
        };
    }
};

} // namespace sluice::testing
