#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>
#include <limits>

namespace sluice::kernels {

namespace {

float max_of(const float* x, std::int64_t n)
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
        result = std::max(result, x[i]);
    return result;
}

/// Sum of exp(x - max), the terms left in x when `keep`. Runs of 256 add in float32, the runs in
/// float64, so that the sum's error does not grow with the vocabulary.
template <bool keep>
double sum_of_exponentials(float* x, std::int64_t n, float max)
{
    constexpr std::int64_t run_length = 256;
    double total = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += run_length) {
        float* run = x + begin;
        Lanes sums{};
        for_each_chunk(std::min(run_length, n - begin), [&](std::int64_t i, auto count) {
            Lanes term = exp(load(run + i, count) - max);
            if constexpr (keep)
                store(run + i, term, count);
            for (int lane = count; lane < num_lanes; ++lane)
                term[lane] = 0.0F;
            sums += term;
        });
        total += static_cast<double>(sum(sums));
    }
    return total;
}

} // namespace

void run(Cpu, const CrossEntropy& op)
{
    const auto [rows, vocabulary] = extents_of(op);
    check_ids(op.targets, vocabulary);
    float* all_logits = op.logits.as<float>();
    const std::int32_t* targets = op.targets.as<std::int32_t>();
    double* losses = op.losses.as<double>();
    const double gradient_scale = op.gradient_scale;
    parallel_for(rows, [=, vocabulary = vocabulary](std::int64_t row) {
        float* logits = all_logits + row * vocabulary;
        const float max = max_of(logits, vocabulary);
        const float target_logit = logits[targets[row]];
        const bool keep = gradient_scale != 0.0;
        const double total = keep ? sum_of_exponentials<true>(logits, vocabulary, max)
                                  : sum_of_exponentials<false>(logits, vocabulary, max);
        losses[row] = std::log(total) + (static_cast<double>(max) - target_logit);
        if (!keep)
            return;
        const auto factor = static_cast<float>(gradient_scale / total);
        for_each_chunk(vocabulary, [&](std::int64_t v, auto count) {
            store(logits + v, factor * load(logits + v, count), count);
        });
        logits[targets[row]] -= static_cast<float>(gradient_scale);
    });
}

} // namespace sluice::kernels
