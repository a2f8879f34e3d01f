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
    for (StageChunk& chunk : stage.chunks()) {
        for (const Parameter& parameter : chunk.model->parameters()) {
            if (parameter.owned.empty())
                continue;
            kernels::launch(
                stage.stream(),
                kernels::AdamW{.weight = parameter.owned_weight(),
                               .gradient = parameter.owned_gradient(),
                               .first_moment = parameter.first_moment,
                               .second_moment = parameter.second_moment,
                               .compute_copy =
                                   parameter.has_master() ? parameter.owned_value() : TensorView{},
                               .gradient_scale = clipping_factor(config.grad_clip, grad_norm),
                               .lr = lr,
                               .beta1 = config.beta1,
                               .beta2 = config.beta2,
                               .eps = config.eps,
                               .weight_decay = parameter.spec.decayed ? config.weight_decay : 0.0,
                               .bias_correction1 = 1.0 - std::pow(config.beta1, exponent),
                               .bias_correction2 = 1.0 - std::pow(config.beta2, exponent)});
        }
    }
}

} // namespace sluice
