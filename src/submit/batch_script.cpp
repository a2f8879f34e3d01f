#include "src/submit/batch_script.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Nothing that a shell, or sbatch in its own lines, reads in a way of its own.
bool is_plain(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./=:,+@%").find(c) != std::string_view::npos;
    });
}

/// sbatch takes quotes and backslashes away, and what is behind a #.
std::string sbatch_word(const std::string& text)
{
    if (is_plain(text))
        return text;
    std::string word = "\"";
    for (const char c : text)
        word += c == '\\' ? std::string("\\\\") : std::string(1, c);
    return word + "\"";
}

std::string directive(const std::string& option, const std::string& value)
{
    const bool named =
        !option.empty() && option.front() >= 'a' && option.front() <= 'z' &&
        option.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
    if (!named)
        throw usage_error("'" + option + "' is not the long name of an option of sbatch",
                          "--sbatch", "write OPTION or OPTION=VALUE, like exclude=n3");
    if (option == "job-name" && value.find('/') != std::string::npos)
        throw usage_error("a slash in the name of a job, '" + value + "'", "--name",
                          "Slurm makes a file's name of it: leave it out");
    const auto breaks_line = [](char c) { return c == '\n' || c == '\r' || c == '"'; };
    if (std::any_of(value.begin(), value.end(), breaks_line))
        throw usage_error("a line break or a quote in an option of sbatch", "--" + option,
                          "leave it out");
    if (value.empty())
        return "#SBATCH --" + option + "\n";
    return "#SBATCH --" + option + "=" + sbatch_word(value) + "\n";
}

std::string as_comment(const std::string& text)
{
    std::string lines = "# ";
    for (const char c : text)
        lines += c == '\n' ? std::string("\n# ") : std::string(1, c);
    return lines + "\n";
}

} // namespace

std::string shell_word(std::string_view text)
{
    if (!text.empty() && is_plain(text))
        return std::string(text);
    std::string word = "'";
    for (const char c : text)
        word += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return word + "'";
}

std::string batch_script(const BatchJob& job)
{
    std::string text = "#!/bin/bash\n" + as_comment(job.comment) + "\n";
    for (const auto& [option, value] : job.sbatch)
        text += directive(option, value);
    text += "\n";
    for (const auto& [name, value] : job.variables)
        text += "export " + name + "=" + shell_word(value) + "\n";
    text += "\n" + std::string(chain_script) + "\ntrain_and_continue " + shell_word(job.run_file);
    for (const std::string& option : job.train_options)
        text += " " + shell_word(option);
    return text + "\n";
}

} // namespace sluice
