#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

void run(Reference, const EmbeddingForward& op)
{
    const auto [tokens, vocabulary, channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    for (std::int64_t n = 0; n < tokens; ++n)
        std::copy_n(op.table.as<double>() + op.tokens.as<std::int32_t>()[n] * channels, channels,
                    op.out.as<double>() + n * channels);
}

void run(Reference, const EmbeddingBackward& op)
{
    const auto [tokens, vocabulary, channels] = extents_of(op);
    check_ids(op.tokens, vocabulary);
    for (std::int64_t n = 0; n < tokens; ++n) {
        const double* dout = op.dout.as<double>() + n * channels;
        double* row = op.table_gradient.as<double>() + op.tokens.as<std::int32_t>()[n] * channels;
        for (std::int64_t c = 0; c < channels; ++c)
            row[c] += dout[c];
    }
}

} // namespace sluice::kernels
