#include "layers/loss_head.hpp"

#include "layers/kernels/cross_entropy.hpp"

#include <numeric>

namespace sluice {

LossHeadScratch allocate_loss_head_scratch(const ModelSpec& spec, std::int64_t num_tokens,
                                           const Precision& precision, Arena& arena)
{
    return {.normed = arena.allocate(precision.compute, {num_tokens, spec.hidden_size}),
            .rstd = arena.allocate(precision.statistics(), {num_tokens}),
            .logits = arena.allocate(precision.compute, {num_tokens, spec.vocab_size}),
            .losses = arena.allocate(DType::f64, {num_tokens})};
}

double sum_of_losses(std::span<const double> token_losses)
{
    return std::accumulate(token_losses.begin(), token_losses.end(), 0.0);
}

void LossHead::loss(const Stream& stream, const TensorView& x, const TensorView& targets,
                    double loss_scale, const LossHeadScratch& scratch) const
{
    norm.forward(stream, x, scratch.normed, scratch.rstd);
    linear_forward(stream, scratch.normed, projection.value, scratch.logits);
    kernels::launch(stream, kernels::CrossEntropy{.logits = scratch.logits,
                                                  .targets = targets,
                                                  .losses = scratch.losses,
                                                  .gradient_scale = loss_scale});
}

void LossHead::evaluate(const Stream& stream, const TensorView& x, const TensorView& targets,
                        const LossHeadScratch& scratch) const
{
    loss(stream, x, targets, 0.0, scratch);
}

void LossHead::backward(const Stream& stream, const TensorView& x, const TensorView& targets,
                        double loss_scale, const LossHeadScratch& scratch,
                        const TensorView& dx) const
{
    SLUICE_CHECK(loss_scale != 0.0, "loss_scale 0 leaves no gradient");
    loss(stream, x, targets, loss_scale, scratch);
    const TensorView& dlogits = scratch.logits;
    linear_backward_weight(stream, dlogits, scratch.normed, projection.gradient);
    linear_backward_input(stream, dlogits, projection.value, scratch.normed);
    norm.backward(stream, scratch.normed, x, scratch.rstd, dx);
}

} // namespace sluice
