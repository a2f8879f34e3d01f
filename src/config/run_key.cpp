#include "src/config/run_key_tables.hpp"

namespace sluice {

const std::vector<RunKey>& run_keys()
{
    static const std::vector<RunKey> keys = [] {
        std::vector<RunKey> all = recipe_keys();
        const std::vector<RunKey> running = running_keys();
        all.insert(all.end(), running.begin(), running.end());
        return all;
    }();
    return keys;
}

std::vector<std::string> section_names()
{
    std::vector<std::string> names;
    for (const RunKey& key : run_keys())
        if (names.empty() || names.back() != key.section)
            names.emplace_back(key.section);
    return names;
}

std::vector<std::string> key_names(std::string_view section)
{
    std::vector<std::string> names;
    for (const RunKey& key : run_keys())
        if (key.section == section)
            names.emplace_back(key.name);
    return names;
}

const RunKey* find_run_key(std::string_view section, std::string_view name)
{
    for (const RunKey& key : run_keys())
        if (key.section == section && key.name == name)
            return &key;
    return nullptr;
}

} // namespace sluice
