#include "layers/embedding.hpp"

#include "layers/kernels/embedding.hpp"

namespace sluice {

void Embedding::forward(const Stream& stream, const TensorView& tokens, const TensorView& out) const
{
    kernels::launch(stream,
                    kernels::EmbeddingForward{.tokens = tokens, .table = table.value, .out = out});
}

void Embedding::backward_weight(const Stream& stream, const TensorView& tokens,
                                const TensorView& dout) const
{
    kernels::launch(stream, kernels::EmbeddingBackward{
                                .tokens = tokens, .dout = dout, .table_gradient = table.gradient});
}

} // namespace sluice
