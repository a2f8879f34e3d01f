// A block per row: one pass over the logits with a running maximum and sum per thread, and one that
// writes the gradient in place (the row is in the second cache by then).
// Legend: N tokens, V vocabulary.
#pragma once

#include "layers/kernels/cuda/element_types.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// sum exp(x - maximum) of some logits.
struct SoftmaxSum {
    float maximum = -INFINITY;
    float sum = 0.0F;
};

/// exp(from - to), where both may be minus infinity.
SLUICE_DEVICE float rescale(float from, float to) { return from == to ? 1.0F : expf(from - to); }

SLUICE_DEVICE SoftmaxSum joined(const SoftmaxSum& a, const SoftmaxSum& b)
{
    const float maximum = fmaxf(a.maximum, b.maximum);
    return {maximum, a.sum * rescale(a.maximum, maximum) + b.sum * rescale(b.maximum, maximum)};
}

template <class T>
struct CrossEntropyKernel {
    static constexpr int num_threads = 512;
    static constexpr int num_warps = num_threads / warp_size;
    struct Shared {
        SoftmaxSum of_warp[num_warps];
    };

    T* logits;                   // [N,V]
    const std::int32_t* targets; // [N]
    double* losses;              // [N]
    std::int64_t vocabulary;
    float gradient_scale; // 0: no gradient
    bool aligned;

    SLUICE_DEVICE SoftmaxSum sum_of_thread(const T* row) const
    {
        SoftmaxSum own;
        for (std::int64_t v = thread() * chunk; v < vocabulary; v += num_threads * chunk) {
            const std::int64_t count = vocabulary - v;
            const Floats<chunk> x = load_floats<chunk>(row + v, count, aligned);
            float maximum = own.maximum;
            for (int j = 0; j < chunk; ++j)
                if (j < count)
                    maximum = fmaxf(maximum, x[j]);
            float sum = own.sum * rescale(own.maximum, maximum);
            for (int j = 0; j < chunk; ++j)
                if (j < count)
                    sum += expf(x[j] - maximum);
            own = {maximum, sum};
        }
        return own;
    }

    SLUICE_DEVICE void operator()() const
    {
        Shared& shared = shared_memory<Shared>();
        T* row = logits + block_x() * vocabulary;
        const std::int64_t target = targets[block_x()];
        const bool known = target >= 0 && target < vocabulary;

        SoftmaxSum total = sum_of_thread(row);
        for (int mask = warp_size / 2; mask > 0; mask /= 2)
            total = joined(total, {shuffle_xor(total.maximum, mask), shuffle_xor(total.sum, mask)});
        if (lane() == 0)
            shared.of_warp[warp()] = total;
        const float target_logit = known ? to_float(row[target]) : NAN;
        barrier(); // also: nobody writes before everybody has read
        total = shared.of_warp[0];
        for (int i = 1; i < num_warps; ++i)
            total = joined(total, shared.of_warp[i]);

        if (thread() == 0)
            losses[block_x()] = static_cast<double>(total.maximum) -
                                static_cast<double>(target_logit) +
                                log(static_cast<double>(total.sum));
        if (gradient_scale == 0.0F)
            return;
        const float over_sum = 1.0F / total.sum;
        for (std::int64_t v = thread() * chunk; v < vocabulary; v += num_threads * chunk) {
            const std::int64_t count = vocabulary - v;
            Floats<chunk> x = load_floats<chunk>(row + v, count, aligned);
            for (int j = 0; j < chunk; ++j) {
                const float p = expf(x[j] - total.maximum) * over_sum;
                x[j] = gradient_scale * (v + j == target ? p - 1.0F : p);
            }
            store_floats(row + v, x, count, aligned);
        }
    }
};

template <class Launcher>
void launch_cross_entropy(const Launcher& launcher, const CrossEntropy& op)
{
    const auto [rows, vocabulary] = extents_of(op);
    with_type_of(op.logits, [&, rows = rows, vocabulary = vocabulary]<class T>(Type<T>) {
        using Kernel = CrossEntropyKernel<T>;
        launcher(Kernel{.logits = op.logits.as<T>(),
                        .targets = op.targets.as<std::int32_t>(),
                        .losses = op.losses.as<double>(),
                        .vocabulary = vocabulary,
                        .gradient_scale = static_cast<float>(op.gradient_scale),
                        .aligned = chunks_aligned(vocabulary, op.logits)},
                 Grid{rows}, sizeof(typename Kernel::Shared));
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
