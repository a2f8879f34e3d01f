#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

namespace {

template <class T>
void rotate(const AttentionExtents& extents, T* qkv, const float* all_cos, const float* all_sin,
            float direction)
{
    const auto [sequences, positions, heads, head_dim] = extents;
    const std::int64_t half = head_dim / 2;
    parallel_for(sequences * positions,
                 [=, positions = positions, heads = heads, head_dim = head_dim](std::int64_t row) {
                     const float* cos = all_cos + row % positions * half;
                     const float* sin = all_sin + row % positions * half;
                     T* q_and_k = qkv + row * 3 * heads * head_dim;
                     for (std::int64_t h = 0; h < 2 * heads; ++h) {
                         T* x = q_and_k + h * head_dim;
                         for_each_chunk(half, [&](std::int64_t i, auto count) {
                             const Lanes c = load(cos + i, count);
                             const Lanes s = direction * load(sin + i, count);
                             const Lanes first = load(x + i, count);
                             const Lanes second = load(x + half + i, count);
                             store(x + i, first * c - second * s, count);
                             store(x + half + i, second * c + first * s, count);
                         });
                     }
                 });
}

} // namespace

void run(Cpu, const RotaryTable& op)
{
    const auto [positions, half] = extents_of(op);
    for (std::int64_t t = 0; t < positions; ++t)
        for (std::int64_t i = 0; i < half; ++i) {
            const double angle =
                static_cast<double>(t) *
                std::pow(op.base, -static_cast<double>(i) / static_cast<double>(half));
            op.cos.as<float>()[t * half + i] = static_cast<float>(std::cos(angle));
            op.sin.as<float>()[t * half + i] = static_cast<float>(std::sin(angle));
        }
}

void run(Cpu, const RotaryForward& op)
{
    with_type_of(op.qkv, [&]<class T>(Type<T>) {
        rotate(extents_of(op), op.qkv.as<T>(), op.cos.as<float>(), op.sin.as<float>(), 1.0F);
    });
}

void run(Cpu, const RotaryBackward& op)
{
    with_type_of(op.qkv_gradient, [&]<class T>(Type<T>) {
        rotate(extents_of(op), op.qkv_gradient.as<T>(), op.cos.as<float>(), op.sin.as<float>(),
               -1.0F);
    });
}

} // namespace sluice::kernels
