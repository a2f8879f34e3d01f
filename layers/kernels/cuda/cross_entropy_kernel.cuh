// A block per row, which lies in its registers between the sum over it and the gradient, written in
// place; longer rows are read twice.
// Legend: N tokens, V vocabulary.
#pragma once

#include "layers/kernels/cuda/row_chunks.cuh"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

/// sum exp(x) of some logits: sum * 2^offset. `offset` is the rounded product of the greatest logit
/// and log2(e), so terms are at most about 1; how it was rounded cancels out.
struct SoftmaxSum {
    float offset = -INFINITY;
    float sum = 0.0F;
};

/// e^x / 2^offset.
SLUICE_DEVICE float softmax_term(float x, float offset)
{
    return exp2_fast(fmaf(x, log2_of_e, -offset));
}

/// What sums relative to `from` are multiplied by to be relative to `to`. Exactly one where nothing
/// changes, also where both are minus infinity.
SLUICE_DEVICE float rescale(float from, float to)
{
    return from == to ? 1.0F : exp2_fast(from - to);
}

SLUICE_DEVICE SoftmaxSum joined(const SoftmaxSum& a, const SoftmaxSum& b)
{
    const float offset = fmaxf(a.offset, b.offset);
    return {offset, a.sum * rescale(a.offset, offset) + b.sum * rescale(b.offset, offset)};
}

template <class T, int chunks>
struct CrossEntropyKernel {
    static constexpr int num_threads = 512, min_blocks = 2;
    static constexpr int num_warps = num_threads / warp_size;
    static constexpr int step = num_threads * chunk, slab = chunks * step; // columns
    struct Shared {
        SoftmaxSum of_warp[num_warps];
    };

    T* logits;                   // [N,V]
    const std::int32_t* targets; // [N]
    double* losses;              // [N]
    int vocabulary;
    float gradient_scale; // 0: no gradient
    bool aligned;

    template <bool vectors>
    using Logits = RowChunks<T, chunks, vectors, Outside::minus_infinity>;

    template <bool vectors>
    SLUICE_DEVICE void add_terms(SoftmaxSum& own, const Logits<vectors>& x) const
    {
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k) {
            float maximum = x.at(k, 0);
            for (int j = 1; j < chunk; ++j)
                maximum = fmaxf(maximum, x.at(k, j));
            const float offset = fmaxf(own.offset, maximum * log2_of_e);
            const float finite = offset == -INFINITY ? 0.0F : offset; // then every term is 0
            float sums[2] = {own.sum * rescale(own.offset, offset), 0.0F};
            for (int j = 0; j < chunk; ++j)
                sums[j % 2] += softmax_term(x.at(k, j), finite);
            own = {offset, sums[0] + sums[1]};
        }
    }

    template <bool vectors>
    SLUICE_DEVICE void write_gradient(T* row, int begin, int target, Logits<vectors>& x,
                                      const SoftmaxSum& total) const
    {
        const float factor = gradient_scale * (1.0F / total.sum);
        SLUICE_UNROLL
        for (int k = 0; k < chunks; ++k) {
            const int v = begin + k * step;
            if (v >= vocabulary)
                continue;
            Floats<chunk> gradient;
            for (int j = 0; j < chunk; ++j)
                gradient[j] = factor * softmax_term(x.at(k, j), total.offset);
            if (target >= v && target - v < chunk)
                for (int j = 0; j < chunk; ++j)
                    gradient[j] -= v + j == target ? gradient_scale : 0.0F;
            store_elements<vectors>(row + v, gradient, vocabulary - v);
        }
    }

    /// Over the block.
    SLUICE_DEVICE SoftmaxSum joined_by_all(SoftmaxSum own) const
    {
        Shared& shared = shared_memory<Shared>();
        for (int mask = warp_size / 2; mask > 0; mask /= 2)
            own = joined(own, {shuffle_xor(own.offset, mask), shuffle_xor(own.sum, mask)});
        if (lane() == 0)
            shared.of_warp[warp()] = own;
        barrier(); // also: nobody writes before everybody has read
        SoftmaxSum total = shared.of_warp[0];
        for (int i = 1; i < num_warps; ++i)
            total = joined(total, shared.of_warp[i]);
        return total;
    }

    template <bool vectors>
    SLUICE_DEVICE void run() const
    {
        T* row = logits + block_x() * vocabulary;
        const int target = targets[block_x()], first = thread() * chunk;
        const bool known = target >= 0 && target < vocabulary;
        Logits<vectors> x;
        x.load(row + first, vocabulary - first, step);
        SoftmaxSum own;
        add_terms<vectors>(own, x);
        for (int begin = slab; begin < vocabulary; begin += slab) {
            x.load(row + begin + first, vocabulary - begin - first, step);
            add_terms<vectors>(own, x);
        }
        const float target_logit = known ? to_float(row[target]) : NAN;
        const SoftmaxSum total = joined_by_all(own);
        if (thread() == 0)
            losses[block_x()] = static_cast<double>(total.offset) / static_cast<double>(log2_of_e) -
                                static_cast<double>(target_logit) +
                                log(static_cast<double>(total.sum));
        if (gradient_scale == 0.0F)
            return;
        x.keep_only_words();
        if (vocabulary <= slab)
            return write_gradient<vectors>(row, first, target, x, total);
        for (int begin = first; begin < vocabulary; begin += slab) {
            x.load(row + begin, vocabulary - begin, step);
            write_gradient<vectors>(row, begin, target, x, total);
        }
    }

    SLUICE_DEVICE void operator()() const
    {
        if (aligned)
            run<true>();
        else
            run<false>();
    }
};

/// As few as hold a row, at most 32 words.
template <class T, class F>
void with_chunks_per_thread(std::int64_t columns_per_chunk, std::int64_t columns, F&& f)
{
    if (columns <= columns_per_chunk)
        return f(NumChunks<1>{});
    if (columns <= 2 * columns_per_chunk)
        return f(NumChunks<2>{});
    if constexpr (sizeof(T) == 2)
        if (columns > 4 * columns_per_chunk)
            return f(NumChunks<8>{});
    f(NumChunks<4>{});
}

template <class Launcher>
void launch_cross_entropy(const Launcher& launcher, const CrossEntropy& op)
{
    const auto [rows, vocabulary] = extents_of(op);
    SLUICE_CHECK(vocabulary < 1 << 30, "vocabulary " << vocabulary);
    with_type_of(op.logits, [&, rows = rows, vocabulary = vocabulary]<class T>(Type<T>) {
        with_chunks_per_thread<T>(
            CrossEntropyKernel<T, 1>::step, vocabulary, [&]<int chunks>(NumChunks<chunks>) {
                using Kernel = CrossEntropyKernel<T, chunks>;
                launcher(Kernel{.logits = op.logits.as<T>(),
                                .targets = op.targets.as<std::int32_t>(),
                                .losses = op.losses.as<double>(),
                                .vocabulary = static_cast<int>(vocabulary),
                                .gradient_scale = static_cast<float>(op.gradient_scale),
                                .aligned = chunks_aligned(vocabulary, op.logits)},
                         Grid{rows}, sizeof(typename Kernel::Shared));
            });
    });
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
