#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

void run(Reference, const SumOfSquares& op)
{
    const std::int64_t count = extents_of(op);
    for (std::int64_t i = 0; i < count; ++i) {
        double sum = 0.0;
        for (const double x : op.x[static_cast<std::size_t>(i)].elements<double>())
            sum += x * x;
        op.results.as<double>()[i] = sum;
    }
}

} // namespace sluice::kernels
