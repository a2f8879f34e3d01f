#include "layers/kernels/cpu/blocks.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

/// State: weight and moments.
template <class State, class Gradient>
void update(const AdamW& op)
{
    State* weight = op.weight.as<State>();
    const Gradient* gradient = op.gradient.as<Gradient>();
    State* first_moment = op.first_moment.as<State>();
    State* second_moment = op.second_moment.as<State>();
    BFloat16* compute_copy = elements_or_null<BFloat16>(op.compute_copy);
    SLUICE_CHECK(op.factors.empty(), "factors in memory are for GPUs");
    const AdamWFactors factors = factors_of(op);
    const float gradient_scale = factors.gradient_scale;
    const Lanes beta1 = broadcast(factors.beta1);
    const Lanes beta2 = broadcast(factors.beta2);
    const float one_minus_beta1 = factors.one_minus_beta1;
    const float one_minus_beta2 = factors.one_minus_beta2;
    const Lanes minus_step = broadcast(factors.minus_step);
    const Lanes minus_decay = broadcast(factors.minus_decay);
    const float over_correction2 = factors.over_correction2;
    const float eps = factors.eps;

    for_each_block(extents_of(op), elements_per_block, [=](std::int64_t begin, std::int64_t end) {
        for_each_chunk(end - begin, [&](std::int64_t chunk, auto count) {
            const std::int64_t i = begin + chunk;
            const Lanes g = gradient_scale * load(gradient + i, count);
            const Lanes m = fma(beta1, load(first_moment + i, count), one_minus_beta1 * g);
            const Lanes v = fma(beta2, load(second_moment + i, count), one_minus_beta2 * g * g);
            const Lanes w = load(weight + i, count);
            const Lanes direction = m / (sqrt(v * over_correction2) + eps);
            const Lanes updated = fma(minus_step, direction, fma(minus_decay, w, w));
            store(first_moment + i, m, count);
            store(second_moment + i, v, count);
            store(weight + i, updated, count);
            if (compute_copy)
                store(compute_copy + i, updated, count);
        });
    });
}

} // namespace

void run(Cpu, const AdamW& op)
{
    with_type_of(op.weight, [&]<class State>(Type<State>) {
        with_type_of(op.gradient,
                     [&]<class Gradient>(Type<Gradient>) { update<State, Gradient>(op); });
    });
}

} // namespace sluice::kernels
