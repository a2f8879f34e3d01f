// A run file as read: known keys with their values and places, nothing interpreted yet.
#pragma once

#include "src/config/config_value.hpp"

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct RunFile {
    std::string source;                        ///< the file's name in messages
    std::map<std::string, ConfigValue> values; ///< by "section.key"

    bool has(const std::string& full_name) const { return values.contains(full_name); }
    /// Where the first of these keys that was given stands; else the file and the first key.
    std::string where(std::initializer_list<std::string> full_names) const;
};

/// Parses TOML and applies overrides; see load_run_config. Throws UserError (usage) for what TOML
/// does not allow and for sections and keys that do not exist, naming the nearest.
RunFile read_run_file(std::string_view text, const std::string& source,
                      const std::filesystem::path& base, const std::vector<std::string>& overrides);

} // namespace sluice
