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
    AdamWFactors given;
    const AdamWFactors* memory; // read instead, or null
    bool aligned;

    SLUICE_DEVICE void operator()() const
    {
        const std::int64_t i = (block_x() * num_threads + thread()) * chunk;
        const std::int64_t count = n - i;
        if (count <= 0)
            return;
        const AdamWFactors f = memory ? *memory : given;
        const Floats<chunk> gradients = load_floats<chunk>(gradient + i, count, aligned);
        Floats<chunk> w = load_floats<chunk>(weight + i, count, aligned);
        Floats<chunk> m = load_floats<chunk>(first_moment + i, count, aligned);
        Floats<chunk> v = load_floats<chunk>(second_moment + i, count, aligned);
        for (int j = 0; j < chunk; ++j) {
            const float g = f.gradient_scale * gradients[j];
            m[j] = fmaf(f.beta1, m[j], f.one_minus_beta1 * g);
            v[j] = fmaf(f.beta2, v[j], f.one_minus_beta2 * g * g);
            const float direction = m[j] / (sqrtf(v[j] * f.over_correction2) + f.eps);
            w[j] = fmaf(f.minus_step, direction, fmaf(f.minus_decay, w[j], w[j]));
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
    const auto* factors =
        reinterpret_cast<const AdamWFactors*>(elements_or_null<float>(op.factors));
    with_type_of(op.weight, [&]<class S>(Type<S>) {
        with_type_of(op.gradient, [&]<class G>(Type<G>) {
            launcher(AdamWKernel<S, G>{.weight = op.weight.as<S>(),
                                       .first_moment = op.first_moment.as<S>(),
                                       .second_moment = op.second_moment.as<S>(),
                                       .gradient = op.gradient.as<G>(),
                                       .compute_copy = elements_or_null<BFloat16>(op.compute_copy),
                                       .n = n,
                                       .given = factors_of(op),
                                       .memory = factors,
                                       .aligned = chunks_aligned(chunk, op.weight, op.gradient,
                                                                 op.first_moment, op.second_moment,
                                                                 op.compute_copy)},
                     Grid{blocks_for(n, 256 * chunk)});
        });
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
