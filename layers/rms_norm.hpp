// Root-mean-square norm with a learnable weight and, for LayerNorm Scaling, a fixed factor.
// Legend: N tokens, C channels.
#pragma once

#include "core/device.hpp"
#include "layers/linear.hpp"

namespace sluice {

/// Norm(x) = scale * weight * x / sqrt(mean(x^2) + eps)
struct RmsNorm {
    Weight weight; ///< [C]; empty: this norm does not exist in the arrangement
    double scale = 1.0;
    double eps = 1e-5;

    bool exists() const { return !weight.empty(); }

    /// y = gate * Norm(x) + addend
    void forward(const Stream& stream,
                 const TensorView& x,    ///< [N,C] in
                 const TensorView& y,    ///< [N,C] overwritten
                 const TensorView& rstd, ///< [N] overwritten, for the backward pass
                 const Factor& gate = 1.0, const TensorView& addend = {} ///< [N,C] in, or empty
    ) const;

    /// dx = gate * (dNorm/dx)^T dy + addend. ACCUMULATES the weight's gradient.
    void backward(const Stream& stream,
                  const TensorView& dy,   ///< [N,C] in
                  const TensorView& x,    ///< [N,C] in, as in the forward pass
                  const TensorView& rstd, ///< [N] in
                  const TensorView& dx,   ///< [N,C] overwritten; may be `dy` or `x`
                  const Factor& gate = 1.0, const TensorView& addend = {} ///< [N,C] in, or empty
    ) const;
};

} // namespace sluice
