#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <cmath>

namespace sluice::kernels {

void run(Reference, const CrossEntropy& op)
{
    const auto [rows, vocabulary] = extents_of(op);
    check_ids(op.targets, vocabulary);
    for (std::int64_t row = 0; row < rows; ++row) {
        double* logits = op.logits.as<double>() + row * vocabulary;
        const std::int32_t target = op.targets.as<std::int32_t>()[row];

        const double max = *std::max_element(logits, logits + vocabulary);
        double sum = 0.0;
        for (std::int64_t v = 0; v < vocabulary; ++v)
            sum += std::exp(logits[v] - max);
        const double logsumexp = max + std::log(sum);
        op.losses.as<double>()[row] = logsumexp - logits[target];
        if (op.gradient_scale == 0.0)
            continue;
        for (std::int64_t v = 0; v < vocabulary; ++v)
            logits[v] = op.gradient_scale * (std::exp(logits[v] - logsumexp) - (v == target));
    }
}

} // namespace sluice::kernels
