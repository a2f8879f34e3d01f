#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
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
template <class T, class Gradient, class Count>
void add_weight_gradient(const RmsNormBackward& op, const RowExtents& extents, std::int64_t c,
                         Count count)
{
    constexpr std::int64_t run_length = 64;
    const T* dy = op.dy.as<T>() + c;
    const T* x = op.x.as<T>() + c;
    const float* rstd = op.rstd.as<float>();
    Lanes total{};
    for (std::int64_t begin = 0; begin < extents.rows; begin += run_length) {
        Lanes sums{};
        for (std::int64_t row = begin; row < std::min(extents.rows, begin + run_length); ++row)
            sums += load(dy + row * extents.channels, count) *
                    load(x + row * extents.channels, count) * rstd[row];
        total += sums;
    }
    Gradient* gradient = op.weight_gradient.as<Gradient>() + c;
    store(gradient, load(gradient, count) + static_cast<float>(op.scale.on_host()) * total, count);
}

template <class T>
void forward(const RmsNormForward& op)
{
    const auto [rows, channels] = extents_of(op);
    const T* all_x = op.x.as<T>();
    const T* weight = op.weight.as<T>();
    const T* all_addend = elements_or_null<T>(op.addend);
    T* all_y = op.y.as<T>();
    float* all_rstd = op.rstd.as<float>();
    const auto scale = static_cast<float>(op.scale.on_host()), eps = static_cast<float>(op.eps);
    parallel_for(rows, [=, channels = channels](std::int64_t row) {
        const T* x = all_x + row * channels;
        const T* addend = all_addend ? all_addend + row * channels : nullptr;
        T* y = all_y + row * channels;
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

template <class T, class Gradient>
void backward(const RmsNormBackward& op)
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
                           add_weight_gradient<T, Gradient>(op, extents, begin + c, count);
                       });
    });

    const T* all_dy = op.dy.as<T>();
    const T* all_x = op.x.as<T>();
    const T* weight = op.weight.as<T>();
    const float* all_rstd = op.rstd.as<float>();
    const T* all_addend = elements_or_null<T>(op.addend);
    T* all_dx = op.dx.as<T>();
    const auto scale = static_cast<float>(op.scale.on_host()), beta = static_cast<float>(op.beta);
    parallel_for(extents.rows, [=](std::int64_t row) {
        const T* dy = all_dy + row * channels;
        const T* x = all_x + row * channels;
        const T* addend = all_addend ? all_addend + row * channels : nullptr;
        T* dx = all_dx + row * channels;
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

} // namespace

void run(Cpu, const RmsNormForward& op)
{
    with_type_of(op.x, [&]<class T>(Type<T>) { forward<T>(op); });
}

void run(Cpu, const RmsNormBackward& op)
{
    with_type_of(op.x, [&]<class T>(Type<T>) {
        with_type_of(op.weight_gradient,
                     [&]<class Gradient>(Type<Gradient>) { backward<T, Gradient>(op); });
    });
}

} // namespace sluice::kernels
