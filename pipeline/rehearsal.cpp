#include "pipeline/rehearsal.hpp"

#include "core/compute_stream.hpp"
#include "layers/kernels/elementwise.hpp"

#include <algorithm>
#include <vector>

namespace sluice {

namespace {

void zero_tokens(const Stream& stream, const TensorView& ids)
{
    const HostCopy zeros(stream, ids, HostCopy::Begin::empty);
    std::ranges::fill(zeros.view().elements<std::int32_t>(), 0);
    zeros.write_back();
}

void rehearse(ModelChunk& model, std::span<const double> gates)
{
    const auto [stream, range] = std::pair(model.options().stream, model.options().range);
    if (range.embedding)
        zero_tokens(stream, model.input_tokens(0));
    else
        kernels::launch(stream, kernels::Fill{.to = model.input(0), .value = 0.0});
    for (const ActivationNorms norms : {ActivationNorms::measured, ActivationNorms::ignored}) {
        model.set_activation_norms(norms);
        model.forward(0, gates);
    }
    if (range.head)
        zero_tokens(stream, model.target_tokens(0)); // the backward pass has all of evaluate()
    else
        kernels::launch(stream, kernels::Fill{.to = model.output_gradient(0), .value = 0.0});
    if (model.options().split == BackwardSplit::fused)
        return model.backward(0, 0, gates, 1.0);
    model.backward_input(0, 0, gates, 1.0);
    model.backward_weight(0, 0, gates);
}

} // namespace

void rehearse(Stage& stage)
{
    for (StageChunk& chunk : stage.chunks())
        for (const double gate : {0.0, 1.0}) { // closed ones take other kernels
            const std::vector<double> gates(chunk.warmup.alphas().size(), gate);
            rehearse(*chunk.model, gates);
        }
    for (StageChunk& chunk : stage.chunks()) {
        std::vector<double> squares(chunk.model->parameters().size());
        chunk.model->gradient_squares(squares); // queued behind the last messages of an update
    }
    stage.zero_gradients();
}

} // namespace sluice
