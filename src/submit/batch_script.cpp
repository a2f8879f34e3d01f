#include "src/submit/batch_script.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {

std::string directive(const std::string& option, const std::string& value)
{
    const auto breaks_line = [](char c) { return c == '\n' || c == '\r' || c == '"'; };
    if (std::any_of(value.begin(), value.end(), breaks_line) ||
        std::any_of(option.begin(), option.end(), breaks_line))
        throw usage_error("a line break or a quote in an option of sbatch", "--" + option,
                          "leave it out");
    if (value.empty())
        return "#SBATCH --" + option + "\n";
    const bool blanks = value.find_first_of(" \t") != std::string::npos;
    return "#SBATCH --" + option + "=" + (blanks ? "\"" + value + "\"" : value) + "\n";
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
    const auto plain = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./=:,+@%").find(c) != std::string_view::npos;
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), plain))
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
