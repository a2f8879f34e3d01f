#include "src/config/presets.hpp"

#include <algorithm>

namespace sluice {

double Preset::learning_rate(Arrangement arrangement) const
{
    switch (arrangement) {
    case Arrangement::post: return lr_post;
    case Arrangement::deepnorm: return lr_deepnorm;
    case Arrangement::pre:
    case Arrangement::sandwich:
    case Arrangement::lns: break;
    }
    return lr;
}

const std::vector<Preset>& presets()
{
    // name, layers, hidden, MLP, heads, lr, lr Post-LN, lr DeepNorm, T
    static const std::vector<Preset> table{
        {"llama-71m", 12, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-24", 24, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-48", 48, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-72", 72, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 1000},
        {"llama-71m-96", 96, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 500},
        {"llama-71m-120", 120, 512, 1368, 8, 2e-3, 2e-3, 2e-3, 500},
        {"llama-130m", 12, 768, 2048, 12, 2e-3, 1e-3, 1.5e-3, 1000},
        {"llama-350m", 24, 1024, 2736, 16, 1e-3, 5e-4, 1e-3, 1000},
        {"llama-1.3b", 24, 2048, 5632, 32, 6e-4, 3e-4, 3e-4, 1000},
        {"llama-3b", 32, 2560, 6848, 32, 0.0, 0.0, 0.0, 1000},
        {"llama-7b", 32, 4096, 11008, 32, 3e-4, 3e-4, 3e-4, 1000},
    };
    return table;
}

std::vector<std::string> preset_names()
{
    std::vector<std::string> names;
    for (const Preset& preset : presets())
        names.emplace_back(preset.name);
    return names;
}

const Preset* find_preset(std::string_view name)
{
    for (const Preset& preset : presets())
        if (preset.name == name)
            return &preset;
    return nullptr;
}

void apply_preset(RunConfig& config, const Preset& preset)
{
    config.preset = preset.name;
    config.model.vocab_size = 32000;
    config.model.max_seq_len = 1024;
    config.model.num_layers = preset.num_layers;
    config.model.hidden_size = preset.hidden_size;
    config.model.intermediate_size = preset.intermediate_size;
    config.model.num_heads = preset.num_heads;
    config.prores.warmup_steps = preset.warmup_steps;
}

double default_learning_rate(const RunConfig& config)
{
    const Preset* preset = find_preset(config.preset);
    return preset == nullptr ? 0.0 : preset->learning_rate(config.model.arrangement);
}

std::int64_t default_lr_warmup_steps(const RunConfig& config)
{
    const std::int64_t tenth = config.run.updates / 10;
    const bool long_warmup = config.model.arrangement == Arrangement::post ||
                             config.model.arrangement == Arrangement::deepnorm;
    return long_warmup ? tenth : std::min<std::int64_t>(2000, tenth);
}

} // namespace sluice
