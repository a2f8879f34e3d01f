// The texts of --help, within the width of the terminal: descriptions stand below each other in
// their own column.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

namespace sluice {

/// What COLUMNS says, or the terminal that standard output is, or 80; at least 40.
std::size_t help_columns();

class WrappedHelp : public CLI::Formatter {
public:
    explicit WrappedHelp(std::size_t columns);

    std::string make_description(const CLI::App* app) const override;
    std::string make_usage(const CLI::App* app, std::string name) const override;
    std::string make_option(const CLI::Option* option, bool is_positional) const override;
    std::string make_subcommand(const CLI::App* subcommand) const override;

private:
    /// A name, and from column_width_ on what it means.
    std::string entry(const std::string& name, const std::string& description) const;

    std::size_t columns_;
};

} // namespace sluice
