#include "layers/kernels/cpu/blocks.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

void run(Cpu, const AdamW& op)
{
    SLUICE_CHECK(op.compute_copy.empty(), "a copy in bf16 is made on GPUs only");
    float* weight = op.weight.as<float>();
    const float* gradient = op.gradient.as<float>();
    float* first_moment = op.first_moment.as<float>();
    float* second_moment = op.second_moment.as<float>();
    // Factors are formed in float64 and rounded once.
    const auto gradient_scale = static_cast<float>(op.gradient_scale);
    const Lanes beta1 = broadcast(static_cast<float>(op.beta1));
    const Lanes beta2 = broadcast(static_cast<float>(op.beta2));
    const auto one_minus_beta1 = static_cast<float>(1.0 - op.beta1);
    const auto one_minus_beta2 = static_cast<float>(1.0 - op.beta2);
    const Lanes minus_step = broadcast(static_cast<float>(-op.lr / op.bias_correction1));
    const Lanes minus_decay = broadcast(static_cast<float>(-op.lr * op.weight_decay));
    const auto over_correction2 = static_cast<float>(1.0 / op.bias_correction2);
    const auto eps = static_cast<float>(op.eps);

    for_each_block(extents_of(op), elements_per_block, [=](std::int64_t begin, std::int64_t end) {
        for_each_chunk(end - begin, [&](std::int64_t chunk, auto count) {
            const std::int64_t i = begin + chunk;
            const Lanes g = gradient_scale * load(gradient + i, count);
            const Lanes m = fma(beta1, load(first_moment + i, count), one_minus_beta1 * g);
            const Lanes v = fma(beta2, load(second_moment + i, count), one_minus_beta2 * g * g);
            const Lanes w = load(weight + i, count);
            const Lanes direction = m / (sqrt(v * over_correction2) + eps);
            store(first_moment + i, m, count);
            store(second_moment + i, v, count);
            store(weight + i, fma(minus_step, direction, fma(minus_decay, w, w)), count);
        });
    });
}

} // namespace sluice::kernels
