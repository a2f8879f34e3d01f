#include "layers/residual.hpp"

#include "layers/kernels/elementwise.hpp"

#include <cmath>

namespace sluice {

bool norms_input(Arrangement arrangement)
{
    return arrangement != Arrangement::post && arrangement != Arrangement::deepnorm;
}

double skip_factor(const ModelSpec& spec)
{
    if (spec.arrangement != Arrangement::deepnorm)
        return 1.0;
    return std::pow(2.0 * static_cast<double>(spec.num_layers), 0.25);
}

double input_norm_scale(const ModelSpec& spec, std::int64_t layer)
{
    if (spec.arrangement != Arrangement::lns || spec.lns != LnsVariant::fixed)
        return 1.0;
    return 1.0 / std::sqrt(static_cast<double>(layer + 1));
}

void Residual::forward_in(const Stream& stream, const ResidualActivations& activations) const
{
    if (input_norm.exists())
        input_norm.forward(stream, activations.x, activations.u, activations.input_rstd);
}

void Residual::forward_out(const Stream& stream, const ResidualActivations& activations,
                           const TensorView& h, const Factor& alpha) const
{
    if (arrangement == Arrangement::sandwich) {
        linear_forward(stream, h, projection.value, activations.projected);
        output_norm.forward(stream, activations.projected, activations.y,
                            activations.projected_rstd, alpha, activations.x);
        return;
    }
    linear_forward(stream, h, projection.value, activations.projected, alpha,
                   {activations.x, skip});
    if (norms_sum())
        forward_norm(stream, activations);
}

void Residual::forward_closed(const Stream& stream, const ResidualActivations& activations) const
{
    if (!norms_sum()) {
        kernels::launch(stream, kernels::Copy{.from = activations.x, .to = activations.y});
        return;
    }
    kernels::launch(stream,
                    kernels::Scale{.x = activations.x, .y = activations.projected, .factor = skip});
    forward_norm(stream, activations);
}

void Residual::forward_norm(const Stream& stream, const ResidualActivations& activations) const
{
    output_norm.forward(stream, activations.projected, activations.y, activations.projected_rstd);
}

void Residual::backward_out(const Stream& stream, const ResidualActivations& activations,
                            const ResidualGradients& gradients, const TensorView& dh,
                            const Factor& alpha) const
{
    if (output_norm.exists())
        output_norm.backward(stream, gradients.y, activations.projected, activations.projected_rstd,
                             activations.projected, norms_sum() ? 1.0 : alpha);
    const Factor product_gate = arrangement == Arrangement::sandwich ? 1.0 : alpha;
    linear_backward_input(stream, product_gradient(activations, gradients), projection.value, dh,
                          product_gate);
}

Addend Residual::input_addend(const ResidualActivations& activations) const
{
    // With an input norm the residual add joins behind it, in backward_in().
    return input_norm.exists() ? Addend{} : Addend{activations.projected, skip};
}

void Residual::backward_in(const Stream& stream, const ResidualActivations& activations,
                           const ResidualGradients& gradients) const
{
    if (input_norm.exists())
        input_norm.backward(stream, gradients.u, activations.x, activations.input_rstd, gradients.x,
                            1.0, gradients.y);
}

void Residual::backward_closed(const Stream& stream, const ResidualActivations& activations,
                               const ResidualGradients& gradients) const
{
    if (!norms_sum()) {
        kernels::launch(stream, kernels::Copy{.from = gradients.y, .to = gradients.x});
        return;
    }
    output_norm.backward(stream, gradients.y, activations.projected, activations.projected_rstd,
                         activations.projected);
    kernels::launch(stream,
                    kernels::Scale{.x = activations.projected, .y = gradients.x, .factor = skip});
}

void Residual::backward_weight(const Stream& stream, const ResidualActivations& activations,
                               const ResidualGradients& gradients, const TensorView& h,
                               const Factor& alpha) const
{
    const Factor product_gate = arrangement == Arrangement::sandwich ? 1.0 : alpha;
    linear_backward_weight(stream, product_gradient(activations, gradients), h, projection.gradient,
                           product_gate);
}

} // namespace sluice
