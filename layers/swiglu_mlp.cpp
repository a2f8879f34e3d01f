#include "layers/swiglu_mlp.hpp"

#include "layers/kernels/swiglu.hpp"

namespace sluice {

void SwigluMlp::forward(const Stream& stream, const TensorView& u,
                        const SwigluMlpActivations& activations) const
{
    linear_forward(stream, u, gate_up.value, activations.gate_up);
    forward_product(stream, activations);
}

void SwigluMlp::forward_product(const Stream& stream, const SwigluMlpActivations& activations) const
{
    kernels::launch(stream,
                    kernels::SwigluForward{.gate_up = activations.gate_up, .h = activations.h});
}

void SwigluMlp::backward_input(const Stream& stream, const SwigluMlpActivations& activations,
                               const TensorView& dh, const TensorView& du,
                               const Addend& addend) const
{
    kernels::launch(stream, kernels::SwigluBackward{.dh = dh,
                                                    .gate_up = activations.gate_up,
                                                    .gate_up_gradient = activations.gate_up});
    linear_backward_input(stream, activations.gate_up, gate_up.value, du, 1.0, addend);
}

void SwigluMlp::backward_weight(const Stream& stream, const TensorView& u,
                                const SwigluMlpActivations& activations) const
{
    linear_backward_weight(stream, activations.gate_up, u, gate_up.gradient);
}

} // namespace sluice
