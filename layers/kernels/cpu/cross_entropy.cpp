#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <limits>

namespace sluice::kernels {

namespace {

template <class T>
float max_of(const T* x, std::int64_t n)
{
    const Lanes least = broadcast(-std::numeric_limits<float>::infinity());
    Lanes largest[4] = {least, least, least, least};
    std::int64_t i = 0;
    for (; i + 4 * num_lanes <= n; i += 4 * num_lanes)
        for (int part = 0; part < 4; ++part)
            largest[part] = max(load(x + i + part * num_lanes), largest[part]);
    Lanes lanes = max(max(largest[0], largest[1]), max(largest[2], largest[3]));
    for (; i + num_lanes <= n; i += num_lanes)
        lanes = max(load(x + i), lanes);
    float result = lanes[0];
    for (int lane = 1; lane < num_lanes; ++lane)
        result = std::max(result, lanes[lane]);
    for (; i < n; ++i)
        result = std::max(result, value_of(x[i]));
    return result;
}

/// Sum of exp(x - max); visit(i, terms, count) sees the terms. Runs of 256 add in float32, the runs
/// in float64, so that the sum's error does not grow with the vocabulary.
template <class T, class Visit>
double sum_of_exponentials(const T* x, std::int64_t n, float max, Visit&& visit)
{
    constexpr std::int64_t run_length = 256;
    double total = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += run_length) {
        Lanes sums{};
        for_each_chunk(std::min(run_length, n - begin), [&](std::int64_t i, auto count) {
            Lanes term = exp(load(x + begin + i, count) - max);
            visit(begin + i, term, count);
            for (int lane = count; lane < num_lanes; ++lane)
                term[lane] = 0.0F;
            sums += term;
        });
        total += static_cast<double>(sum(sums));
    }
    return total;
}

/// One row of logits, before anything is written to it.
struct Row {
    float max, target_logit;
    double gradient_scale;
};

/// logits = gradient; returns the sum of exponentials. Terms wait in the logits' own place.
double write_gradient(float* logits, std::int64_t vocabulary, std::int32_t target, const Row& row)
{
    const double total = sum_of_exponentials(
        logits, vocabulary, row.max,
        [=](std::int64_t v, const Lanes& terms, auto count) { store(logits + v, terms, count); });
    const auto factor = static_cast<float>(row.gradient_scale / total);
    for_each_chunk(vocabulary, [&](std::int64_t v, auto count) {
        store(logits + v, factor * load(logits + v, count), count);
    });
    logits[target] -= static_cast<float>(row.gradient_scale);
    return total;
}

/// Terms are computed again, so that a gradient is rounded once.
double write_gradient(BFloat16* logits, std::int64_t vocabulary, std::int32_t target,
                      const Row& row)
{
    const double total =
        sum_of_exponentials(logits, vocabulary, row.max, [](std::int64_t, const Lanes&, auto) {});
    const auto factor = static_cast<float>(row.gradient_scale / total);
    for_each_chunk(vocabulary, [&](std::int64_t v, auto count) {
        store(logits + v, factor * exp(load(logits + v, count) - row.max), count);
    });
    const float term = exp(broadcast(row.target_logit) - row.max)[0];
    put(logits[target], factor * term - static_cast<float>(row.gradient_scale));
    return total;
}

template <class T>
void run_rows(const CrossEntropy& op)
{
    const auto [rows, num_logits] = extents_of(op);
    const std::int64_t vocabulary = num_logits;
    T* all_logits = op.logits.as<T>();
    const std::int32_t* targets = op.targets.as<std::int32_t>();
    double* losses = op.losses.as<double>();
    const double gradient_scale = op.gradient_scale;
    parallel_for(rows, [=](std::int64_t index) {
        T* logits = all_logits + index * vocabulary;
        const Row row{.max = max_of(logits, vocabulary),
                      .target_logit = value_of(logits[targets[index]]),
                      .gradient_scale = gradient_scale};
        const double total = gradient_scale != 0.0
                                 ? write_gradient(logits, vocabulary, targets[index], row)
                                 : sum_of_exponentials(logits, vocabulary, row.max,
                                                       [](std::int64_t, const Lanes&, auto) {});
        losses[index] = std::log(total) + (static_cast<double>(row.max) - row.target_logit);
    });
}

} // namespace

void run(Cpu, const CrossEntropy& op)
{
    check_ids(op.targets, extents_of(op).channels);
    with_type_of(op.logits, [&]<class T>(Type<T>) { run_rows<T>(op); });
}

} // namespace sluice::kernels
