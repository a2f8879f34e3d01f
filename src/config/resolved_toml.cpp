#include "src/config/run_config.hpp"
#include "src/config/run_key.hpp"

namespace sluice {

std::string resolved_toml(const RunConfig& config)
{
    std::string text(resolved_toml_heading);
    text += '\n';
    std::string_view section;
    for (const RunKey& key : run_keys()) {
        if (!key.get)
            continue;
        if (key.section != section) {
            section = key.section;
            text += "\n[" + std::string(section) + "]\n";
        }
        text += std::string(key.name) + " = " + toml_text(key.get(config)) + "\n";
    }
    return text;
}

} // namespace sluice
