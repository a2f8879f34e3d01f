#include "layers/rms_norm.hpp"

#include "layers/kernels/rms_norm.hpp"

namespace sluice {

void RmsNorm::forward(const Stream& stream, const TensorView& x, const TensorView& y,
                      const TensorView& rstd, double gate, const TensorView& addend) const
{
    kernels::launch(stream, kernels::RmsNormForward{.x = x,
                                                    .weight = weight.value,
                                                    .addend = addend,
                                                    .y = y,
                                                    .rstd = rstd,
                                                    .scale = gate * scale,
                                                    .eps = eps});
}

void RmsNorm::backward(const Stream& stream, const TensorView& dy, const TensorView& x,
                       const TensorView& rstd, const TensorView& dx, double gate,
                       const TensorView& addend) const
{
    kernels::launch(stream, kernels::RmsNormBackward{.dy = dy,
                                                     .x = x,
                                                     .weight = weight.value,
                                                     .rstd = rstd,
                                                     .addend = addend,
                                                     .dx = dx,
                                                     .weight_gradient = weight.gradient,
                                                     .scale = gate * scale});
}

} // namespace sluice
