#include "src/train/optimizer.hpp"

#include "layers/kernels/adamw.hpp"

#include <cmath>

namespace sluice {

double clipping_factor(double grad_clip, double grad_norm)
{
    return grad_clip > 0.0 && grad_norm > grad_clip ? grad_clip / grad_norm : 1.0;
}

void adamw_step(Stage& stage, const OptimizerConfig& config, double lr, double grad_norm,
                std::int64_t update)
{
    const auto exponent = static_cast<double>(update);
    kernels::AdamW numbers{};
    numbers.gradient_scale = clipping_factor(config.grad_clip, grad_norm);
    numbers.lr = lr;
    numbers.beta1 = config.beta1;
    numbers.beta2 = config.beta2;
    numbers.eps = config.eps;
    numbers.weight_decay = config.weight_decay;
    numbers.bias_correction1 = 1.0 - std::pow(config.beta1, exponent);
    numbers.bias_correction2 = 1.0 - std::pow(config.beta2, exponent);
    for (StageChunk& chunk : stage.chunks())
        chunk.model->update_weights(numbers);
}

} // namespace sluice
