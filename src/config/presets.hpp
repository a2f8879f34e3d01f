// The model sizes of the ProRes paper, and the defaults that follow from other keys.
#pragma once

#include "src/config/run_config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// One row of the paper's table of sizes. All have 32000 tokens (Llama's tokenizer) and sequences
/// of 1024.
struct Preset {
    std::string_view name;
    std::int64_t num_layers, hidden_size, intermediate_size, num_heads;
    /// Peak learning rates; 0: the paper gives none, so the run file must.
    double lr, lr_post, lr_deepnorm;
    std::int64_t warmup_steps; ///< T of the gates, in updates

    double learning_rate(Arrangement arrangement) const;
};

const std::vector<Preset>& presets();
std::vector<std::string> preset_names();
/// nullptr when there is none.
const Preset* find_preset(std::string_view name);

/// Sets the model's sizes and T (the learning rate depends on the arrangement, see
/// default_learning_rate).
void apply_preset(RunConfig& config, const Preset& preset);

/// The preset's for the configured arrangement; 0 without a preset or where the paper gives none.
double default_learning_rate(const RunConfig& config);

/// Learning-rate warm-up in updates: 2000 (paper), but 10% of the run for Post-LN and DeepNorm
/// (paper) and for runs of fewer than 20000 updates, where 2000 would be more than that.
std::int64_t default_lr_warmup_steps(const RunConfig& config);

} // namespace sluice
