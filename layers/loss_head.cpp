#include "layers/loss_head.hpp"

#include "layers/kernels/cross_entropy.hpp"

namespace sluice {

LossHeadScratch allocate_loss_head_scratch(const ModelSpec& spec, std::int64_t num_tokens,
                                           DType dtype, Arena& arena)
{
    return {.normed = arena.allocate(dtype, {num_tokens, spec.hidden_size}),
            .rstd = arena.allocate(dtype, {num_tokens}),
            .logits = arena.allocate(dtype, {num_tokens, spec.vocab_size}),
            .losses = arena.allocate(DType::f64, {num_tokens})};
}

double LossHead::loss(const Stream& stream, const TensorView& x, const TensorView& targets,
                      double loss_scale, const LossHeadScratch& scratch) const
{
    norm.forward(stream, x, scratch.normed, scratch.rstd);
    linear_forward(stream, scratch.normed, projection.value, scratch.logits);
    kernels::launch(stream, kernels::CrossEntropy{.logits = scratch.logits,
                                                  .targets = targets,
                                                  .losses = scratch.losses,
                                                  .gradient_scale = loss_scale});
    double sum = 0.0;
    for (const double loss : scratch.losses.elements<double>())
        sum += loss;
    return sum;
}

double LossHead::evaluate(const Stream& stream, const TensorView& x, const TensorView& targets,
                          const LossHeadScratch& scratch) const
{
    return loss(stream, x, targets, 0.0, scratch);
}

double LossHead::backward(const Stream& stream, const TensorView& x, const TensorView& targets,
                          double loss_scale, const LossHeadScratch& scratch,
                          const TensorView& dx) const
{
    SLUICE_CHECK(loss_scale != 0.0, "loss_scale 0 leaves no gradient");
    const double sum = loss(stream, x, targets, loss_scale, scratch);
    const TensorView& dlogits = scratch.logits;
    linear_backward_weight(stream, dlogits, scratch.normed, projection.gradient);
    linear_backward_input(stream, dlogits, projection.value, scratch.normed);
    norm.backward(stream, scratch.normed, x, scratch.rstd, dx);
    return sum;
}

} // namespace sluice
