// The token embedding in front of the first layer.
// Legend: N tokens, V vocabulary, C channels.
#pragma once

#include "core/device.hpp"
#include "layers/weight.hpp"

namespace sluice {

struct Embedding {
    Weight table; ///< [V,C]

    /// tokens [N] i32 in; out [N,C] overwritten.
    void forward(const Stream& stream, const TensorView& tokens, const TensorView& out) const;
    /// tokens [N] i32 and dout [N,C] in. ACCUMULATES the table's gradient.
    void backward_weight(const Stream& stream, const TensorView& tokens,
                         const TensorView& dout) const;
};

} // namespace sluice
