#include "core/parallel.hpp"
#include "layers/kernels/cpu/lanes.hpp"
#include "layers/kernels/element_types.hpp"
#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

namespace {

/// A thread owns that many channels, so that rows of equal tokens add in token order.
constexpr std::int64_t channels_per_item = 64;

template <class T>
struct EqualRows {
    std::span<const std::int32_t> ids;
    const T* dout; ///< [N,C], from the item's first channel on
    std::int64_t channels, num_channels;

    /// Adds every row where it belongs as it comes: where sums need not be rounded, nothing is
    /// gained by looking for a token's other rows first.
    void add_to(float* gradient) const
    {
        for (std::size_t n = 0; n < ids.size(); ++n) {
            const T* from = dout + static_cast<std::int64_t>(n) * channels;
            float* row = gradient + ids[n] * channels;
            for_each_chunk(num_channels, [&](std::int64_t c, auto count) {
                store(row + c, load(row + c, count) + load(from + c, count), count);
            });
        }
    }

    /// A token's first occurrence adds all of them, so that each sum is rounded once.
    void add_to(BFloat16* gradient) const
    {
        for (auto first = ids.begin(); first != ids.end(); ++first) {
            if (std::find(ids.begin(), first, *first) != first)
                continue;
            BFloat16* row = gradient + *first * channels;
            for_each_chunk(num_channels, [&](std::int64_t c, auto count) {
                Lanes sum = load(row + c, count);
                for (auto id = first; id != ids.end(); ++id)
                    if (*id == *first)
                        sum += load(dout + (id - ids.begin()) * channels + c, count);
                store(row + c, sum, count);
            });
        }
    }
};

} // namespace

void run(Cpu, const EmbeddingForward& op)
{
    const auto [tokens, vocabulary, channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    const std::int32_t* ids = op.tokens.as<std::int32_t>();
    with_type_of(op.table, [&, tokens = tokens, channels = channels]<class T>(Type<T>) {
        const T* table = op.table.as<T>();
        T* out = op.out.as<T>();
        parallel_for(tokens, [=](std::int64_t n) {
            std::copy_n(table + ids[n] * channels, channels, out + n * channels);
        });
    });
}

void run(Cpu, const EmbeddingBackward& op)
{
    const auto [tokens, vocabulary, num_channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    const std::int64_t channels = num_channels;
    with_type_of(op.dout, [&]<class T>(Type<T>) {
        with_type_of(op.table_gradient, [&]<class Gradient>(Type<Gradient>) {
            const auto ids = std::span<const std::int32_t>(op.tokens.elements<std::int32_t>());
            const T* dout = op.dout.as<T>();
            Gradient* gradient = op.table_gradient.as<Gradient>();
            parallel_for((channels + channels_per_item - 1) / channels_per_item,
                         [=](std::int64_t item) {
                             const std::int64_t begin = item * channels_per_item;
                             const EqualRows<T> rows{ids, dout + begin, channels,
                                                     std::min(channels_per_item, channels - begin)};
                             rows.add_to(gradient + begin);
                         });
        });
    });
}

} // namespace sluice::kernels
