// AdamW (Loshchilov and Hutter 2019): decoupled weight decay, bias-corrected moments.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// Weight and moments are f32 (master weights) or all bf16, the gradient f32 or bf16; one element's
/// arithmetic is in f32.
///
/// With g = gradient_scale * gradient:
///   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
///   w = w - lr * weight_decay * w - lr * (m / bias_correction1) / (sqrt(v / bias_correction2) +
///   eps)
struct AdamW {
    TensorView weight;           ///< [n] OVERWRITTEN IN PLACE
    TensorView gradient;         ///< [n] in
    TensorView first_moment;     ///< [n] m, OVERWRITTEN IN PLACE
    TensorView second_moment;    ///< [n] v, OVERWRITTEN IN PLACE
    TensorView compute_copy{};   ///< [n] overwritten by w rounded to bf16, or empty
    double gradient_scale = 1.0; ///< the clipping factor min(1, clip / norm)
    double lr = 0.0;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double bias_correction1 = 1.0; ///< 1 - beta1^update, update counted from 1
    double bias_correction2 = 1.0; ///< 1 - beta2^update
    /// On GPUs, in place of all numbers above, which stay what the launching host knows: those of
    /// factors_of(), read when it runs; or empty.
    TensorView factors{}; ///< [num_adamw_factors] f32
};

/// The numbers of a step as GPUs take them: formed in float64, rounded once.
struct AdamWFactors {
    float gradient_scale, beta1, beta2, one_minus_beta1, one_minus_beta2;
    float minus_step;       ///< -lr / bias_correction1
    float minus_decay;      ///< -lr weight_decay
    float over_correction2; ///< 1 / bias_correction2
    float eps;
};
inline constexpr std::int64_t num_adamw_factors = sizeof(AdamWFactors) / sizeof(float);

inline AdamWFactors factors_of(const AdamW& op)
{
    return {.gradient_scale = static_cast<float>(op.gradient_scale),
            .beta1 = static_cast<float>(op.beta1),
            .beta2 = static_cast<float>(op.beta2),
            .one_minus_beta1 = static_cast<float>(1.0 - op.beta1),
            .one_minus_beta2 = static_cast<float>(1.0 - op.beta2),
            .minus_step = static_cast<float>(-op.lr / op.bias_correction1),
            .minus_decay = static_cast<float>(-op.lr * op.weight_decay),
            .over_correction2 = static_cast<float>(1.0 / op.bias_correction2),
            .eps = static_cast<float>(op.eps)};
}

void run(Reference, const AdamW&);
void run(Cpu, const AdamW&);
void run(Cuda, const AdamW&);

} // namespace sluice::kernels
