// Linear maps without bias. What a residual add or its gate needs rides in the same product.
// Legend: N tokens, I inputs, O outputs; weights are [O,I].
#pragma once

#include "core/device.hpp"
#include "layers/kernels/factor.hpp"
#include "layers/weight.hpp"

namespace sluice {

using kernels::Factor;

/// What a product adds to its result: factor * tensor, or nothing when `tensor` is empty.
struct Addend {
    TensorView tensor{};
    double factor = 1.0;
};

/// y = alpha * x W^T + addend
void linear_forward(const Stream& stream,
                    const TensorView& x,      ///< [N,I] in
                    const TensorView& weight, ///< [O,I] in
                    const TensorView& y,      ///< [N,O] overwritten
                    const Factor& alpha = 1.0, const Addend& addend = {});

/// dx = alpha * dy W + addend
void linear_backward_input(const Stream& stream,
                           const TensorView& dy,     ///< [N,O] in
                           const TensorView& weight, ///< [O,I] in
                           const TensorView& dx,     ///< [N,I] overwritten
                           const Factor& alpha = 1.0, const Addend& addend = {});

/// dW += alpha * dy^T x
void linear_backward_weight(const Stream& stream,
                            const TensorView& dy,              ///< [N,O] in
                            const TensorView& x,               ///< [N,I] in
                            const TensorView& weight_gradient, ///< [O,I] ACCUMULATED
                            const Factor& alpha = 1.0);

} // namespace sluice
