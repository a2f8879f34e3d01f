#include "src/cli/wrapped_help.hpp"

#include "src/train/progress_line.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace sluice {

namespace {

/// `text` in lines of at most `columns`, where a word is not longer; the first of them begins in
/// column `at`, the others in column `indent`. Line breaks in the text stay. No line break behind.
std::string wrapped(const std::string& text, std::size_t columns, std::size_t indent,
                    std::size_t at)
{
    std::string out;
    bool begins = true; // a line
    const auto break_line = [&] {
        out += "\n" + std::string(indent, ' ');
        at = indent;
        begins = true;
    };
    std::istringstream lines(text);
    for (std::string line, word; std::getline(lines, line);) {
        if (!out.empty())
            break_line();
        for (std::istringstream words(line); words >> word; begins = false) {
            if (!begins && at + 1 + word.size() > columns)
                break_line();
            out += (begins ? "" : " ") + word;
            at += (begins ? 0 : 1) + word.size();
        }
    }
    return out;
}

} // namespace

std::size_t help_columns()
{
    const char* const said = std::getenv("COLUMNS");
    const int columns = said != nullptr ? std::atoi(said) : 0;
    return static_cast<std::size_t>(std::max(40, columns > 0 ? columns : terminal_columns(stdout)));
}

WrappedHelp::WrappedHelp(std::size_t columns) : columns_(columns)
{
    column_width(std::min<std::size_t>(32, columns * 2 / 5));
}

std::string WrappedHelp::make_description(const CLI::App* app) const
{
    const std::string text = wrapped(Formatter::make_description(app), columns_, 0, 0);
    return text.empty() ? text : text + "\n";
}

std::string WrappedHelp::make_usage(const CLI::App* app, std::string name) const
{
    return wrapped(Formatter::make_usage(app, std::move(name)), columns_, 6, 0) + "\n";
}

std::string WrappedHelp::make_option(const CLI::Option* option, bool is_positional) const
{
    return entry(make_option_name(option, is_positional) + make_option_opts(option),
                 make_option_desc(option));
}

std::string WrappedHelp::make_subcommand(const CLI::App* subcommand) const
{
    return entry(subcommand->get_display_name(true), subcommand->get_description());
}

std::string WrappedHelp::entry(const std::string& name, const std::string& description) const
{
    const std::size_t column = get_column_width();
    std::string text = "  " + wrapped(name, columns_, 6, 2);
    if (description.empty())
        return text + "\n";
    if (text.size() + 2 <= column)
        text.append(column - text.size(), ' ');
    else
        text += "\n" + std::string(column, ' ');
    return text + wrapped(description, columns_, column, column) + "\n";
}

} // namespace sluice
