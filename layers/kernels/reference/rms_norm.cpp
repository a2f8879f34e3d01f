#include "layers/kernels/extents.hpp"

#include <cmath>

namespace sluice::kernels {

void run(Reference, const RmsNormForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const double* weight = op.weight.as<double>();
    const double scale = op.scale.on_host();
    for (std::int64_t row = 0; row < rows; ++row) {
        const double* x = op.x.as<double>() + row * channels;
        const double* addend =
            op.addend.empty() ? nullptr : op.addend.as<double>() + row * channels;
        double* y = op.y.as<double>() + row * channels;

        double sum = 0.0;
        for (std::int64_t c = 0; c < channels; ++c)
            sum += x[c] * x[c];
        const double rstd = 1.0 / std::sqrt(sum / static_cast<double>(channels) + op.eps);
        for (std::int64_t c = 0; c < channels; ++c)
            y[c] = scale * weight[c] * x[c] * rstd + (addend ? addend[c] : 0.0);
        op.rstd.as<double>()[row] = rstd;
    }
}

// y_c = s w_c x_c r with r = (mean(x^2) + eps)^(-1/2), so dr/dx_c = -r^3 x_c / C and
//   dx_c = s r w_c dy_c - x_c (s r^3 / C) sum_c' w_c' dy_c' x_c'.
void run(Reference, const RmsNormBackward& op)
{
    const auto [rows, channels] = extents_of(op);
    const double* weight = op.weight.as<double>();
    const double scale = op.scale.on_host();
    double* weight_gradient = op.weight_gradient.as<double>();
    for (std::int64_t row = 0; row < rows; ++row) {
        const double* dy = op.dy.as<double>() + row * channels;
        const double* x = op.x.as<double>() + row * channels;
        const double* addend =
            op.addend.empty() ? nullptr : op.addend.as<double>() + row * channels;
        double* dx = op.dx.as<double>() + row * channels;
        const double rstd = op.rstd.as<double>()[row];

        double dot = 0.0;
        for (std::int64_t c = 0; c < channels; ++c) {
            dot += weight[c] * dy[c] * x[c];
            weight_gradient[c] += scale * dy[c] * x[c] * rstd;
        }
        const double along_x = rstd * rstd * rstd * dot / static_cast<double>(channels);
        for (std::int64_t c = 0; c < channels; ++c)
            dx[c] = scale * (weight[c] * dy[c] * rstd - x[c] * along_x) +
                    (addend ? op.beta * addend[c] : 0.0);
    }
}

} // namespace sluice::kernels
