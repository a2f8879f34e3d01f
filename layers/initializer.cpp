#include "core/parallel.hpp"
#include "core/random.hpp"
#include "layers/parameter.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// In standard deviations of the untruncated normal.
constexpr double truncation = 2.0;
constexpr std::int64_t elements_per_block = 4096;

/// Element i is number i of the parameter's own stream, drawn in float64 and rounded once.
template <class T>
void draw(const ModelSpec& spec, std::uint64_t seed, const Parameter& parameter)
{
    T* const value = parameter.value.as<T>();
    const std::int64_t count = parameter.value.num_elements();
    const double std = parameter.spec.init_std;
    if (std == 0.0) {
        std::fill_n(value, count, static_cast<T>(parameter.spec.init_constant));
        return;
    }
    const RandomStream random(seed, parameter.spec.name);
    const bool truncated = spec.init_distribution == InitDistribution::truncated_normal;
    parallel_for((count + elements_per_block - 1) / elements_per_block, [&](std::int64_t block) {
        const std::int64_t end = std::min(count, (block + 1) * elements_per_block);
        for (std::int64_t i = block * elements_per_block; i < end; ++i) {
            const auto element = static_cast<std::uint64_t>(i);
            const double sample =
                truncated ? random.truncated_normal(element, truncation) : random.normal(element);
            value[i] = static_cast<T>(std * sample);
        }
    });
}

} // namespace

void initialize(const ModelSpec& spec, std::uint64_t seed, const Parameter& parameter)
{
    SLUICE_CHECK(parameter.value.device.kind == DeviceKind::cpu,
                 parameter.spec.name << " is not where the host can write it");
    switch (parameter.value.dtype) {
    case DType::f32: draw<float>(spec, seed, parameter); return;
    case DType::f64: draw<double>(spec, seed, parameter); return;
    default: SLUICE_CHECK(false, parameter.spec.name << ": " << name_of(parameter.value.dtype));
    }
}

} // namespace sluice
