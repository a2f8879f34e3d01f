#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

void run(Reference, const Matmul& op)
{
    const auto [m, n, k] = extents_of(op);
    const double* a = op.a.as<double>();
    const double* b = op.b.as<double>();
    double* out = op.out.as<double>();
    const bool at = op.transpose_a == Transpose::yes, bt = op.transpose_b == Transpose::yes;
    const double alpha = op.alpha.on_host();
    const double* addend = op.addend.empty() ? nullptr : op.addend.as<double>();

    for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j)
            out[i * n + j] = addend ? op.beta * addend[i * n + j] : 0.0;
        // The loop orders walk both operands along their rows.
        if (bt) {
            for (std::int64_t j = 0; j < n; ++j) {
                double sum = 0.0;
                for (std::int64_t p = 0; p < k; ++p)
                    sum += (at ? a[p * m + i] : a[i * k + p]) * b[j * k + p];
                out[i * n + j] += alpha * sum;
            }
        } else {
            for (std::int64_t p = 0; p < k; ++p) {
                const double factor = alpha * (at ? a[p * m + i] : a[i * k + p]);
                for (std::int64_t j = 0; j < n; ++j)
                    out[i * n + j] += factor * b[p * n + j];
            }
        }
    }
}

} // namespace sluice::kernels
