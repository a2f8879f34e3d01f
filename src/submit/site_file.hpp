// Settings of a cluster (slurm/sites/*.env): NAME=value lines and comments, which a shell can
// source as well. Nothing is expanded and nothing is run.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

struct SiteSettings {
    /// sbatch's options, from SBATCH_...: {"partition", "main"}. A value that is the option's name,
    /// {"exclusive", "exclusive"}, stands for none.
    std::vector<std::pair<std::string, std::string>> sbatch;
    /// All others, for the job's environment.
    std::vector<std::pair<std::string, std::string>> variables;
};

/// "partition" of "SBATCH_PARTITION", empty for one that is not among those sbatch reads.
std::string_view option_of_variable(std::string_view variable);
/// "SBATCH_PARTITION" of "partition", empty when sbatch reads none.
std::string_view variable_of_option(std::string_view option);

/// Throws UserError (usage) with file and line for anything but settings.
SiteSettings parse_site_settings(std::string_view text, const std::string& source);
/// Throws UserError (data) when the file cannot be read.
SiteSettings read_site_file(const std::filesystem::path& path);

} // namespace sluice
