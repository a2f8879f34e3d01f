#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::kernels {

void run(Reference, const Copy& op)
{
    extents_of(op);
    std::memcpy(op.to.data, op.from.data, op.from.num_bytes());
}

void run(Reference, const Fill& op)
{
    std::fill_n(op.to.as<double>(), op.to.num_elements(), op.value);
}

void run(Reference, const Scale& op)
{
    const std::int64_t n = extents_of(op);
    for (std::int64_t i = 0; i < n; ++i)
        op.y.as<double>()[i] = op.factor * op.x.as<double>()[i];
}

void run(Reference, const Add& op)
{
    const std::int64_t n = extents_of(op);
    for (std::int64_t i = 0; i < n; ++i)
        op.y.as<double>()[i] += op.x.as<double>()[i];
}

} // namespace sluice::kernels
