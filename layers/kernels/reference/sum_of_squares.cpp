#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

void run(Reference, const SumOfSquares& op)
{
    double sum = 0.0;
    for (const double x : op.x.elements<double>())
        sum += x * x;
    op.result.as<double>()[0] = sum;
}

} // namespace sluice::kernels
