#include "layers/kernels/cpu/blocks.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

namespace sluice::kernels {

void run(Cpu, const Copy& op)
{
    extents_of(op);
    const char* from = static_cast<const char*>(op.from.data);
    char* to = static_cast<char*>(op.to.data);
    const auto num_bytes = static_cast<std::int64_t>(op.from.num_bytes());
    for_each_block(num_bytes, std::int64_t{1} << 18, [=](std::int64_t begin, std::int64_t end) {
        std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
}

void run(Cpu, const Fill& op)
{
    float* to = op.to.as<float>();
    const auto value = static_cast<float>(op.value);
    for_each_block(
        op.to.num_elements(), elements_per_block,
        [=](std::int64_t begin, std::int64_t end) { std::fill(to + begin, to + end, value); });
}

void run(Cpu, const Scale& op)
{
    const float* x = op.x.as<float>();
    float* y = op.y.as<float>();
    const auto factor = static_cast<float>(op.factor);
    for_each_block(extents_of(op), elements_per_block, [=](std::int64_t begin, std::int64_t end) {
        for_each_chunk(end - begin, [&](std::int64_t i, auto count) {
            store(y + begin + i, factor * load(x + begin + i, count), count);
        });
    });
}

void run(Cpu, const Add& op)
{
    const float* x = op.x.as<float>();
    float* y = op.y.as<float>();
    for_each_block(extents_of(op), elements_per_block, [=](std::int64_t begin, std::int64_t end) {
        for_each_chunk(end - begin, [&](std::int64_t i, auto count) {
            store(y + begin + i, load(y + begin + i, count) + load(x + begin + i, count), count);
        });
    });
}

} // namespace sluice::kernels
