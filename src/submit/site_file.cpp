#include "src/submit/site_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "src/config/nearest_name.hpp"
#include "src/text/trimmed.hpp"

#include <algorithm>
#include <array>

namespace sluice {

namespace {

using Pair = std::pair<std::string_view, std::string_view>;
/// INPUT ENVIRONMENT VARIABLES of sbatch(1), but for those that change what sbatch itself prints
/// and waits for.
constexpr std::array<Pair, 47> sbatch_variables{{{"SBATCH_ACCOUNT", "account"},
                                                 {"SBATCH_ACCTG_FREQ", "acctg-freq"},
                                                 {"SBATCH_ARRAY_INX", "array"},
                                                 {"SBATCH_BATCH", "batch"},
                                                 {"SBATCH_CLUSTERS", "clusters"},
                                                 {"SBATCH_CONSTRAINT", "constraint"},
                                                 {"SBATCH_CONTAINER", "container"},
                                                 {"SBATCH_CORE_SPEC", "core-spec"},
                                                 {"SBATCH_CPUS_PER_GPU", "cpus-per-gpu"},
                                                 {"SBATCH_CPU_FREQ_REQ", "cpu-freq"},
                                                 {"SBATCH_DELAY_BOOT", "delay-boot"},
                                                 {"SBATCH_DISTRIBUTION", "distribution"},
                                                 {"SBATCH_EXCLUSIVE", "exclusive"},
                                                 {"SBATCH_EXPORT", "export"},
                                                 {"SBATCH_GET_USER_ENV", "get-user-env"},
                                                 {"SBATCH_GPUS", "gpus"},
                                                 {"SBATCH_GPUS_PER_NODE", "gpus-per-node"},
                                                 {"SBATCH_GPUS_PER_TASK", "gpus-per-task"},
                                                 {"SBATCH_GPU_BIND", "gpu-bind"},
                                                 {"SBATCH_GPU_FREQ", "gpu-freq"},
                                                 {"SBATCH_GRES", "gres"},
                                                 {"SBATCH_GRES_FLAGS", "gres-flags"},
                                                 {"SBATCH_HINT", "hint"},
                                                 {"SBATCH_JOB_NAME", "job-name"},
                                                 {"SBATCH_MEM_BIND", "mem-bind"},
                                                 {"SBATCH_MEM_PER_CPU", "mem-per-cpu"},
                                                 {"SBATCH_MEM_PER_GPU", "mem-per-gpu"},
                                                 {"SBATCH_MEM_PER_NODE", "mem"},
                                                 {"SBATCH_NETWORK", "network"},
                                                 {"SBATCH_NO_KILL", "no-kill"},
                                                 {"SBATCH_NO_REQUEUE", "no-requeue"},
                                                 {"SBATCH_OPEN_MODE", "open-mode"},
                                                 {"SBATCH_OVERCOMMIT", "overcommit"},
                                                 {"SBATCH_PARTITION", "partition"},
                                                 {"SBATCH_POWER", "power"},
                                                 {"SBATCH_PROFILE", "profile"},
                                                 {"SBATCH_QOS", "qos"},
                                                 {"SBATCH_REQUEUE", "requeue"},
                                                 {"SBATCH_REQ_SWITCH", "switches"},
                                                 {"SBATCH_RESERVATION", "reservation"},
                                                 {"SBATCH_SIGNAL", "signal"},
                                                 {"SBATCH_SPREAD_JOB", "spread-job"},
                                                 {"SBATCH_THREADS_PER_CORE", "threads-per-core"},
                                                 {"SBATCH_THREAD_SPEC", "thread-spec"},
                                                 {"SBATCH_TIMELIMIT", "time"},
                                                 {"SBATCH_USE_MIN_NODES", "use-min-nodes"},
                                                 {"SBATCH_WCKEY", "wckey"}}};

constexpr std::uint64_t most_bytes = 1 << 20;

bool is_name(std::string_view text)
{
    const auto letter = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    };
    return !text.empty() && letter(text.front()) &&
           std::all_of(text.begin(), text.end(),
                       [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// Bare words without anything a shell would act on, or one pair of quotes around anything plain.
std::string value_of(std::string_view text, const std::string& where)
{
    const char quote = text.empty() ? '\0' : text.front();
    const bool quoted = text.size() >= 2 && (quote == '"' || quote == '\'') && text.back() == quote;
    if (quoted)
        text = text.substr(1, text.size() - 2);
    const std::string_view refused = quoted ? "\"'`$\\" : "\"'`$\\ \t;&|<>()#*?[]~!{}";
    for (const char c : text)
        if (refused.find(c) != std::string_view::npos || static_cast<unsigned char>(c) < 0x20)
            throw usage_error(
                std::string("a site file holds plain values, and this one has ") +
                    (c == ' ' ? std::string("a blank") : "'" + std::string(1, c) + "'"),
                where,
                quoted ? "write the value itself; nothing is expanded here"
                       : "put the value into quotes, or leave that out");
    return std::string(text);
}

std::vector<std::string> known_variables()
{
    std::vector<std::string> names;
    for (const auto& [variable, option] : sbatch_variables)
        names.emplace_back(variable);
    return names;
}

} // namespace

std::string_view option_of_variable(std::string_view variable)
{
    for (const auto& [name, option] : sbatch_variables)
        if (name == variable)
            return option;
    return {};
}

std::string_view variable_of_option(std::string_view option)
{
    for (const auto& [name, its_option] : sbatch_variables)
        if (its_option == option)
            return name;
    return {};
}

SiteSettings parse_site_settings(std::string_view text, const std::string& source)
{
    SiteSettings settings;
    for (int number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end), " \t\r");
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.front() == '#')
            continue;
        const std::string where = source + ", line " + std::to_string(number);
        const std::size_t equals = line.find('=');
        if (equals == std::string_view::npos || !is_name(line.substr(0, equals)))
            throw usage_error("a site file holds settings only, and this is none: " +
                                  std::string(line.substr(0, 60)),
                              where, "write NAME=value, without blanks around the =");
        const std::string name(line.substr(0, equals));
        const std::string value = value_of(line.substr(equals + 1), where);
        if (!name.starts_with("SBATCH_")) {
            settings.variables.emplace_back(name, value);
            continue;
        }
        const std::string_view option = option_of_variable(name);
        if (option.empty()) {
            const std::string nearest = nearest_name(name, known_variables());
            throw usage_error(name + " is not a setting here", where,
                              nearest.empty() ? "see slurm/sites/README.md"
                                              : "did you mean " + nearest + "?");
        }
        settings.sbatch.emplace_back(option, value);
    }
    return settings;
}

SiteSettings read_site_file(const std::filesystem::path& path)
{
    return parse_site_settings(read_file(path, most_bytes), path.string());
}

} // namespace sluice
