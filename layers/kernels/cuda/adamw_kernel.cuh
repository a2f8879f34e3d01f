// Legend: n elements, a chunk of them per thread.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// S: weights and moments, G: gradients.
template <class S, class G>
struct AdamWKernel {
    static constexpr int num_threads = 256;
    S *weight, *first_moment, *second_moment; // [n]
    const G* gradient;                        // [n]
    BFloat16* compute_copy;                   // [n] or null
    std::int64_t n;
    float gradient_scale, beta1, beta2, one_minus_beta1, one_minus_beta2;
    float minus_step, minus_decay, over_correction2, eps;
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = (block_x() * num_threads + thread()) * chunk;
        const std::int64_t count = n - i;
        if (count <= 0)
            return;
        const Floats<chunk> gradients = load_floats<chunk>(gradient + i, count, aligned);
        Floats<chunk> w = load_floats<chunk>(weight + i, count, aligned);
        Floats<chunk> m = load_floats<chunk>(first_moment + i, count, aligned);
        Floats<chunk> v = load_floats<chunk>(second_moment + i, count, aligned);
        for (int j = 0; j < chunk; ++j) {
            const float g = gradient_scale * gradients[j];
            m[j] = fmaf(beta1, m[j], one_minus_beta1 * g);
            v[j] = fmaf(beta2, v[j], one_minus_beta2 * g * g);
            const float direction = m[j] / (sqrtf(v[j] * over_correction2) + eps);
            w[j] = fmaf(minus_step, direction, fmaf(minus_decay, w[j], w[j]));
        }
        store_floats(first_moment + i, m, count, aligned);
        store_floats(second_moment + i, v, count, aligned);
        store_floats(weight + i, w, count, aligned);
        if (compute_copy)
            store_floats(compute_copy + i, w, count, aligned);
    }
};

template <class Launcher>
void launch_adamw(const Launcher& launcher, const AdamW& op)
{
    const std::int64_t n = extents_of(op);
    with_type_of(op.weight, [&]<class S>(Type<S>) {
        with_type_of(op.gradient, [&]<class G>(Type<G>) {
            // Factors are formed in float64 and rounded once.
            launcher(
                AdamWKernel<S, G>{.weight = op.weight.as<S>(),
                                  .first_moment = op.first_moment.as<S>(),
                                  .second_moment = op.second_moment.as<S>(),
                                  .gradient = op.gradient.as<G>(),
                                  .compute_copy = elements_or_null<BFloat16>(op.compute_copy),
                                  .n = n,
                                  .gradient_scale = static_cast<float>(op.gradient_scale),
                                  .beta1 = static_cast<float>(op.beta1),
                                  .beta2 = static_cast<float>(op.beta2),
                                  .one_minus_beta1 = static_cast<float>(1.0 - op.beta1),
                                  .one_minus_beta2 = static_cast<float>(1.0 - op.beta2),
                                  .minus_step = static_cast<float>(-op.lr / op.bias_correction1),
                                  .minus_decay = static_cast<float>(-op.lr * op.weight_decay),
                                  .over_correction2 = static_cast<float>(1.0 / op.bias_correction2),
                                  .eps = static_cast<float>(op.eps),
                                  .aligned =
                                      chunks_aligned(chunk, op.weight, op.gradient, op.first_moment,
                                                     op.second_moment, op.compute_copy)},
                Grid{blocks_for(n, 256 * chunk)});
        });
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
