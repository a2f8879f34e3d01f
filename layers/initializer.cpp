#include "core/bfloat16.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "layers/parameter.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// In standard deviations of the untruncated normal.
constexpr double truncation = 2.0;
constexpr std::int64_t elements_per_block = 4096;

/// write(i, number i of the parameter's own stream) for every element, in float64.
template <class Write>
void draw(const ModelSpec& spec, std::uint64_t seed, const ParameterSpec& parameter, Write&& write)
{
    const std::int64_t count = parameter.shape.num_elements();
    const double std = parameter.init_std;
    const RandomStream random(seed, parameter.name);
    const bool truncated = spec.init_distribution == InitDistribution::truncated_normal;
    parallel_for((count + elements_per_block - 1) / elements_per_block, [&](std::int64_t block) {
        const std::int64_t end = std::min(count, (block + 1) * elements_per_block);
        for (std::int64_t i = block * elements_per_block; i < end; ++i) {
            const auto element = static_cast<std::uint64_t>(i);
            if (std == 0.0)
                write(i, parameter.init_constant);
            else
                write(i, std * (truncated ? random.truncated_normal(element, truncation)
                                          : random.normal(element)));
        }
    });
}

} // namespace

void initialize(const ModelSpec& spec, std::uint64_t seed, const Parameter& parameter)
{
    SLUICE_CHECK(parameter.value.device.kind == DeviceKind::cpu,
                 parameter.spec.name << " is not where the host can write it");
    if (parameter.value.dtype == DType::f64) {
        double* const value = parameter.value.as<double>();
        draw(spec, seed, parameter.spec, [=](std::int64_t i, double x) { value[i] = x; });
        return;
    }
    if (parameter.value.dtype == DType::f32) {
        float* const value = parameter.value.as<float>();
        draw(spec, seed, parameter.spec,
             [=](std::int64_t i, double x) { value[i] = static_cast<float>(x); });
        return;
    }
    BFloat16* const value = parameter.value.as<BFloat16>();
    const ElementRange owned = parameter.has_master() ? parameter.owned : ElementRange{};
    float* const master = owned.empty() ? nullptr : parameter.master.as<float>();
    draw(spec, seed, parameter.spec, [=](std::int64_t i, double x) {
        const auto rounded_once = static_cast<float>(x);
        value[i] = bfloat16_of(rounded_once);
        if (i >= owned.begin && i < owned.end)
            master[i - owned.begin] = rounded_once;
    });
}

} // namespace sluice
