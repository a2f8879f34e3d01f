// One residual branch, x -> y, around a sub-layer F(u) = h(u) W^T with gate alpha(l,t)
// (Chen et al. 2026, arXiv:2603.05369, section 3; the arrangements as in layers/model_spec.hpp):
//
//     pre       y = x + alpha h(Norm(x)) W^T
//     lns       y = x + alpha h(Norm(x) / sqrt(l)) W^T
//     post      y = Norm(x + alpha h(x) W^T)
//     deepnorm  y = Norm(A x + alpha h(x) W^T),  A = (2 L)^(1/4)
//     sandwich  y = x + alpha Norm(h(Norm(x)) W^T)
//
// A branch runs as forward_in(): u from x; the sub-layer's h from u; forward_out(): y from h and x;
// and backwards in the opposite order. The gate is the alpha of the matrix product with W and the
// residual add its addend, so neither costs a pass over memory; only sandwich, which norms the
// product, gates in its norm. A gate of exactly 0 runs *_closed() instead: the branch adds nothing,
// sends nothing back and its weights' gradients stay as they are.
//
// Legend: N tokens, C channels, K columns of W (C for attention, F for the MLP).
#pragma once

#include "layers/rms_norm.hpp"

namespace sluice {

/// What a branch leaves for its backward pass, which OVERWRITES part of it.
struct ResidualActivations {
    TensorView x;              ///< [N,C] the residual stream before the branch
    TensorView u;              ///< [N,C] the sub-layer's input; is `x` itself without an input norm
    TensorView input_rstd;     ///< [N], or empty
    TensorView projected;      ///< [N,C] what the output norm reads, OVERWRITTEN by its gradient in
                               ///< backward; is `y` itself without an output norm
    TensorView projected_rstd; ///< [N], or empty
    TensorView y;              ///< [N,C] the residual stream behind the branch
};

struct ResidualGradients {
    TensorView y; ///< [N,C] in; pre and lns need it until the weight gradient is done
    TensorView u; ///< [N,C] scratch; is `x` itself without an input norm
    TensorView x; ///< [N,C] overwritten; with an input norm it may be the activation x itself,
                  ///< without one it may be `y`
};

struct Residual {
    Arrangement arrangement = Arrangement::pre;
    RmsNorm input_norm;  ///< pre, lns, sandwich
    RmsNorm output_norm; ///< post and deepnorm: after the add; sandwich: on the product
    Weight projection;   ///< W [C,K]
    double skip = 1.0;   ///< factor on x: A for deepnorm

    /// Post and deepnorm: the output norm stands behind the add.
    bool norms_sum() const
    {
        return arrangement == Arrangement::post || arrangement == Arrangement::deepnorm;
    }

    /// u from x.
    void forward_in(const Stream& stream, const ResidualActivations& activations) const;
    /// y from h [N,K] and x.
    void forward_out(const Stream& stream, const ResidualActivations& activations,
                     const TensorView& h, const Factor& alpha) const;
    /// y from x at alpha = 0.
    void forward_closed(const Stream& stream, const ResidualActivations& activations) const;
    /// y from the sum in `projected` (post, deepnorm).
    void forward_norm(const Stream& stream, const ResidualActivations& activations) const;

    /// dh [N,K] (overwritten) from gradients.y. ACCUMULATES the output norm's gradient.
    void backward_out(const Stream& stream, const ResidualActivations& activations,
                      const ResidualGradients& gradients, const TensorView& dh,
                      const Factor& alpha) const;
    /// What the sub-layer must add to the gradient of u when it writes it to gradients.u.
    Addend input_addend(const ResidualActivations& activations) const;
    /// gradients.x from gradients.u. ACCUMULATES the input norm's gradient.
    void backward_in(const Stream& stream, const ResidualActivations& activations,
                     const ResidualGradients& gradients) const;
    /// gradients.x from gradients.y at alpha = 0. ACCUMULATES the gradient of a norm that x itself
    /// passes (post, deepnorm).
    void backward_closed(const Stream& stream, const ResidualActivations& activations,
                         const ResidualGradients& gradients) const;

    /// After backward_out(), h [N,K] as in the forward pass. ACCUMULATES the gradient of W.
    void backward_weight(const Stream& stream, const ResidualActivations& activations,
                         const ResidualGradients& gradients, const TensorView& h,
                         const Factor& alpha) const;

private:
    /// The gradient of h W^T (of the sum in post and deepnorm) after backward_out().
    const TensorView& product_gradient(const ResidualActivations& activations,
                                       const ResidualGradients& gradients) const
    {
        return output_norm.exists() ? activations.projected : gradients.y;
    }
};

/// Whether the arrangement norms what goes into its sub-layers.
bool norms_input(Arrangement arrangement);
/// A = (2 L)^(1/4) for deepnorm, 1 otherwise.
double skip_factor(const ModelSpec& spec);
/// The fixed factor on the input norms of 0-based layer `layer`: 1/sqrt(l) for lns, 1 otherwise.
double input_norm_scale(const ModelSpec& spec, std::int64_t layer);

} // namespace sluice
