// Options of the command line that may be given several times, each with one value.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace sluice {

/// `values` must outlive the parsing.
inline void add_repeated_option(CLI::App& command, const std::string& name,
                                std::vector<std::string>& values, const std::string& what)
{
    command.add_option(name, values, what)->take_all()->expected(1)->allow_extra_args(false);
}

/// Overrides for load_run_config().
inline void add_set_option(CLI::App& command, std::vector<std::string>& overrides)
{
    add_repeated_option(command, "--set", overrides,
                        "Override one key of the run file: section.key=value");
}

} // namespace sluice
