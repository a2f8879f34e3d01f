// What stands behind the last layer: final norm, head, cross entropy. Value and gradient are
// computed together and nothing is kept, so one buffer of logits serves all micro-batches.
// Legend: N tokens, V vocabulary, C channels.
#pragma once

#include "core/arena.hpp"
#include "layers/precision.hpp"
#include "layers/rms_norm.hpp"

namespace sluice {

struct LossHeadScratch {
    TensorView normed; ///< [N,C], then its gradient
    TensorView rstd;   ///< [N]
    TensorView logits; ///< [N,V], then their gradient
    TensorView losses; ///< [N] f64
};

LossHeadScratch allocate_loss_head_scratch(const ModelSpec& spec, std::int64_t num_tokens,
                                           const Precision& precision, Arena& arena);

/// In float64 and token order.
double sum_of_losses(std::span<const double> token_losses);

struct LossHead {
    RmsNorm norm;
    Weight projection; ///< [V,C]

    /// scratch.losses. x [N,C] and targets [N] i32 in.
    void evaluate(const Stream& stream, const TensorView& x, const TensorView& targets,
                  const LossHeadScratch& scratch) const;

    /// The same (unscaled), and dx [N,C] (may be x) overwritten by loss_scale times the gradient of
    /// their sum. ACCUMULATES the gradients of norm and projection. `loss_scale` must not be 0.
    void backward(const Stream& stream, const TensorView& x, const TensorView& targets,
                  double loss_scale, const LossHeadScratch& scratch, const TensorView& dx) const;

private:
    void loss(const Stream& stream, const TensorView& x, const TensorView& targets,
              double loss_scale, const LossHeadScratch& scratch) const;
};

} // namespace sluice
