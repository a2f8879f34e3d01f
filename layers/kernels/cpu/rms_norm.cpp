#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

namespace {

/// Sum over channels of term(c, count), in four interleaved sums so that additions overlap.
template <class Term>
float sum_over_channels(std::int64_t channels, Term&& term)
{
    constexpr std::int64_t step = 4 * num_lanes;
    Lanes sums[4] = {};
    std::int64_t c = 0;
    for (; c + step <= channels; c += step)
        for (int part = 0; part < 4; ++part)
            sums[part] += term(c + part * num_lanes, AllLanes{});
    for_each_chunk(channels - c,
                   [&](std::int64_t first, auto count) { sums[0] += term(c + first, count); });
    return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// weight_gradient[c] += scale * sum over rows of dy x rstd for `count` channels from `c`: runs of
/// 64 rows add up first, then the runs.
template <class Count>
void add_weight_gradient(const RmsNormBackward& op, const RowExtents& extents, std::int64_t c,
                         Count count)
{
    constexpr std::int64_t run_length = 64;
    const float* dy = op.dy.as<float>() + c;
    const float* x = op.x.as<float>() + c;
    const float* rstd = op.rstd.as<float>();
    Lanes total{};
    for (std::int64_t begin = 0; begin < extents.rows; begin += run_length) {
        Lanes sums{};
        for (std::int64_t row = begin; row < std::min(extents.rows, begin + run_length); ++row)
            sums += load(dy + row * extents.channels, count) *
                    load(x + row * extents.channels, count) * rstd[row];
        total += sums;
    }
    float* gradient = op.weight_gradient.as<float>() + c;
    store(gradient, load(gradient, count) + static_cast<float>(op.scale) * total, count);
}

} // namespace

void run(Cpu, const RmsNormForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const float* all_x = op.x.as<float>();
    const float* weight = op.weight.as<float>();
    const float* all_addend = op.addend.empty() ? nullptr : op.addend.as<float>();
    float* all_y = op.y.as<float>();
    float* all_rstd = op.rstd.as<float>();
    const auto scale = static_cast<float>(op.scale), eps = static_cast<float>(op.eps);
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const float* x = all_x + row * channels;
        const float* addend = all_addend ? all_addend + row * channels : nullptr;
        float* y = all_y + row * channels;
        const float squares = sum_over_channels(channels, [&](std::int64_t c, auto count) {
            const Lanes lanes = load(x + c, count);
            return lanes * lanes;
        });
        const float rstd = 1.0F / std::sqrt(squares / static_cast<float>(channels) + eps);
        const float factor = scale * rstd;
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            Lanes lanes = load(weight + c, count) * (factor * load(x + c, count));
            if (addend)
                lanes += load(addend + c, count);
            store(y + c, lanes, count);
        });
        all_rstd[row] = rstd;
    });
}

void run(Cpu, const RmsNormBackward& op)
{
    const RowExtents extents = extents_of(op);
    const std::int64_t channels = extents.channels;
    // First the weight's gradient, because dx may lie on dy or x. A thread owns channels, so that
    // rows add in row order.
    constexpr std::int64_t channels_per_item = 64;
    parallel_for((channels + channels_per_item - 1) / channels_per_item, [&](std::int64_t item) {
        const std::int64_t begin = item * channels_per_item;
        for_each_chunk(std::min(channels_per_item, channels - begin),
                       [&](std::int64_t c, auto count) {
                           add_weight_gradient(op, extents, begin + c, count);
                       });
    });

    const float* all_dy = op.dy.as<float>();
    const float* all_x = op.x.as<float>();
    const float* weight = op.weight.as<float>();
    const float* all_rstd = op.rstd.as<float>();
    const float* all_addend = op.addend.empty() ? nullptr : op.addend.as<float>();
    float* all_dx = op.dx.as<float>();
    const auto scale = static_cast<float>(op.scale), beta = static_cast<float>(op.beta);
    parallel_for(extents.rows, [=](std::int64_t row) {
        const float* dy = all_dy + row * channels;
        const float* x = all_x + row * channels;
        const float* addend = all_addend ? all_addend + row * channels : nullptr;
        float* dx = all_dx + row * channels;
        const float rstd = all_rstd[row];
        const float dot = sum_over_channels(channels, [&](std::int64_t c, auto count) {
            return load(weight + c, count) * load(dy + c, count) * load(x + c, count);
        });
        const float along_dy = scale * rstd;
        const float along_x = scale * rstd * rstd * rstd * (dot / static_cast<float>(channels));
        for_each_chunk(channels, [&](std::int64_t c, auto count) {
            Lanes lanes = along_dy * (load(weight + c, count) * load(dy + c, count)) -
                          along_x * load(x + c, count);
            if (addend)
                lanes += beta * load(addend + c, count);
            store(dx + c, lanes, count);
        });
    });
}

} // namespace sluice::kernels
