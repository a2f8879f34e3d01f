#include "layers/kernels/extents.hpp"

#include <cmath>

namespace sluice::kernels {

void run(Reference, const AdamW& op)
{
    SLUICE_CHECK(op.compute_copy.empty(), "a copy in bf16 is made on GPUs only");
    SLUICE_CHECK(op.factors.empty(), "factors in memory are for GPUs");
    const std::int64_t n = extents_of(op);
    for (std::int64_t i = 0; i < n; ++i) {
        double& w = op.weight.as<double>()[i];
        double& m = op.first_moment.as<double>()[i];
        double& v = op.second_moment.as<double>()[i];
        const double g = op.gradient_scale * op.gradient.as<double>()[i];
        m = op.beta1 * m + (1.0 - op.beta1) * g;
        v = op.beta2 * v + (1.0 - op.beta2) * g * g;
        const double step =
            (m / op.bias_correction1) / (std::sqrt(v / op.bias_correction2) + op.eps);
        w = w - op.lr * op.weight_decay * w - op.lr * step;
    }
}

} // namespace sluice::kernels
