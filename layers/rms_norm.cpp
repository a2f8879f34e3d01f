#include "layers/rms_norm.hpp"

#include "layers/kernels/rms_norm.hpp"

namespace sluice {

namespace {

/// A gate in memory is not multiplied by anything before it is read.
Factor product(const Factor& gate, double scale)
{
    if (gate.memory.empty())
        return gate.value * scale;
    SLUICE_CHECK(scale == 1.0, "a norm has a gate in memory and a factor of its own, " << scale);
    return gate;
}

} // namespace

void RmsNorm::forward(const Stream& stream, const TensorView& x, const TensorView& y,
                      const TensorView& rstd, const Factor& gate, const TensorView& addend) const
{
    kernels::launch(stream, kernels::RmsNormForward{.x = x,
                                                    .weight = weight.value,
                                                    .addend = addend,
                                                    .y = y,
                                                    .rstd = rstd,
                                                    .scale = product(gate, scale),
                                                    .eps = eps});
}

void RmsNorm::backward(const Stream& stream, const TensorView& dy, const TensorView& x,
                       const TensorView& rstd, const TensorView& dx, const Factor& gate,
                       const TensorView& addend) const
{
    kernels::launch(stream, kernels::RmsNormBackward{.dy = dy,
                                                     .x = x,
                                                     .weight = weight.value,
                                                     .rstd = rstd,
                                                     .addend = addend,
                                                     .dx = dx,
                                                     .weight_gradient = weight.gradient,
                                                     .scale = product(gate, scale)});
}

} // namespace sluice
