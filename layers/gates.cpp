#include "layers/gates.hpp"

#include <algorithm>
#include <limits>

namespace sluice {

Gates::Gates(const Stream& stream, std::int64_t num_layers, const TensorView& memory)
    : memory_(memory), ring_(stream, memory.num_bytes()),
      alphas_(static_cast<std::size_t>(num_layers), std::numeric_limits<double>::quiet_NaN())
{
}

void Gates::set(std::span<const double> alphas)
{
    SLUICE_CHECK(alphas.size() == alphas_.size(), alphas.size()
                                                      << " gates, " << alphas_.size() << " layers");
    if (std::ranges::equal(alphas, alphas_))
        return;
    std::ranges::copy(alphas, alphas_.begin());
    if (!memory_.empty())
        ring_.upload(memory_, [&](const TensorView& row) {
            std::ranges::transform(alphas, row.as<float>(),
                                   [](double alpha) { return static_cast<float>(alpha); });
        });
}

kernels::Factor Gates::of(std::size_t layer) const
{
    if (memory_.empty())
        return alphas_[layer];
    return {alphas_[layer], memory_.slice(static_cast<std::int64_t>(layer), {1})};
}

} // namespace sluice
