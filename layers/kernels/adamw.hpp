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
};

void run(Reference, const AdamW&);
void run(Cpu, const AdamW&);
void run(Cuda, const AdamW&);

} // namespace sluice::kernels
