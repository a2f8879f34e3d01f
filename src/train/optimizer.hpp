// AdamW over the parameters of one stage, with global gradient-norm clipping.
#pragma once

#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

namespace sluice {

/// min(1, grad_clip / grad_norm); 1 when grad_clip is 0.
double clipping_factor(double grad_clip, double grad_norm);

/// One optimizer step on the elements of the stage whose moments live here. `update` counts from 1
/// and includes this one. Norms and the embedding are not decayed.
void adamw_step(Stage& stage, const OptimizerConfig& config, double lr, double grad_norm,
                std::int64_t update);

} // namespace sluice
