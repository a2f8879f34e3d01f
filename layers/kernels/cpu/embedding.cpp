#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

void run(Cpu, const EmbeddingForward& op)
{
    const auto [tokens, vocabulary, channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    const std::int32_t* ids = op.tokens.as<std::int32_t>();
    const float* table = op.table.as<float>();
    float* out = op.out.as<float>();
    parallel_for(tokens, [=, channels = channels](std::int64_t n) {
        std::copy_n(table + ids[n] * channels, channels, out + n * channels);
    });
}

void run(Cpu, const EmbeddingBackward& op)
{
    const auto [tokens, vocabulary, channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    const std::int32_t* ids = op.tokens.as<std::int32_t>();
    const float* all_dout = op.dout.as<float>();
    float* gradient = op.table_gradient.as<float>();
    // A thread owns channels, so that rows of equal tokens add in token order.
    constexpr std::int64_t channels_per_item = 64;
    const std::int64_t num_items = (channels + channels_per_item - 1) / channels_per_item;
    parallel_for(num_items, [=, tokens = tokens, channels = channels](std::int64_t item) {
        const std::int64_t begin = item * channels_per_item;
        const std::int64_t num_channels = std::min(channels_per_item, channels - begin);
        for (std::int64_t n = 0; n < tokens; ++n) {
            const float* dout = all_dout + n * channels + begin;
            float* row = gradient + ids[n] * channels + begin;
            for_each_chunk(num_channels, [&](std::int64_t c, auto count) {
                store(row + c, load(row + c, count) + load(dout + c, count), count);
            });
        }
    });
}

} // namespace sluice::kernels
