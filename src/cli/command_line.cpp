#include "src/cli/command_line.hpp"

#include "core/error.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/option_checks.hpp"
#include "src/cli/standard_output.hpp"
#include "src/cli/wrapped_help.hpp"
#include "src/config/nearest_name.hpp"
#include "src/process/program_version.hpp"

#include <CLI/CLI.hpp>
#include <memory>
#include <string_view>
#include <system_error>

namespace sluice {

namespace {

/// "sluice data prepare"
std::string words_of(const CLI::App& command)
{
    return command.get_parent() == nullptr
               ? command.get_name()
               : words_of(*command.get_parent()) + " " + command.get_name();
}

/// "sluice data"
std::string words_before(const CLI::App& command)
{
    return command.get_parent() == nullptr ? "" : words_of(*command.get_parent());
}

/// The subcommand that was being parsed when it failed: errors are about its words.
const CLI::App& innermost(const CLI::App& app)
{
    const auto parsed = app.get_subcommands();
    return parsed.empty() ? app : innermost(*parsed.back());
}

std::vector<std::string> valid_words(const CLI::App& app, bool flags)
{
    std::vector<std::string> words;
    if (flags) {
        for (const CLI::Option* option : app.get_options())
            for (const std::string& name : option->get_lnames())
                words.push_back("--" + name);
    } else {
        for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; }))
            words.push_back(subcommand->get_name());
    }
    return words;
}

UserError explain(const CLI::App& app, const CLI::ParseError& error)
{
    const CLI::App& command = innermost(app);
    const std::string help = "see `" + words_of(command) + " --help`";
    const auto extra = command.remaining();
    // Something required is missing where its flag is misspelt.
    const bool misspelt = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
                          !extra.empty() && extra.front().starts_with("-");
    if (misspelt || (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !extra.empty())) {
        const std::string& word = extra.front();
        const bool flag = word.starts_with("-");
        const auto nearest = nearest_name(word, valid_words(command, flag));
        return usage_error("'" + word + "' is not " + (flag ? "a flag" : "understood") + " here",
                           "command line",
                           (nearest.empty() ? "" : "did you mean '" + nearest + "'? ") + help);
    }
    return usage_error(error.what(), "command line", help);
}

/// No option means anything by an empty text. (What `sluice submit` hands on to sbatch may.)
void refuse_empty_words(CLI::App& command)
{
    for (CLI::Option* option : command.get_options())
        if (option->get_items_expected_max() > 0)
            option->check(not_empty());
    for (CLI::App* subcommand : command.get_subcommands([](const CLI::App*) { return true; }))
        if (subcommand->get_name() != "submit")
            refuse_empty_words(*subcommand);
}

int parse_and_run(int argc, char** argv)
{
    CLI::App app{"Pretrains very deep language models with progressive residual warm-up (ProRes) "
                 "over MPI pipeline stages.",
                 "sluice"};
    app.set_version_flag("--version", program_version());
    app.require_subcommand(0, 1);
    app.formatter(std::make_shared<WrappedHelp>(help_columns())); // and of all subcommands
    ChosenCommand chosen;
    add_data_command(app, chosen);
    add_train_command(app, chosen);
    add_submit_command(app, chosen);
    add_eval_command(app, chosen);
    add_plan_command(app, chosen);
    add_inspect_command(app, chosen);
    add_checkpoint_command(app, chosen);
    add_doctor_command(app, chosen);
    add_later_commands(app, chosen);
    refuse_empty_words(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        if (app.get_subcommands().empty() && !app.remaining().empty())
            throw explain(app, CLI::ExtrasError(app.remaining())); // `sluice tarin --help`
        const CLI::App& command = innermost(app);
        std::cout << command.help(words_before(command));
        return 0;
    } catch (const CLI::Success& success) {
        return app.exit(success);
    } catch (const CLI::ParseError& error) {
        throw explain(app, error);
    }
    if (!chosen) {
        std::cout << app.help();
        return static_cast<int>(ExitCode::usage);
    }
    return chosen();
}

} // namespace

int run_command_line(int argc, char** argv)
{
    // How a run has ended stays as it is: its words are in its folder.
    if (argc > 1 && std::string_view(argv[1]) == "train")
        return parse_and_run(argc, argv);
    int code = 0;
    try {
        code = parse_and_run(argc, argv);
    } catch (const std::system_error&) {
        if (!standard_output_failed()) // of which fmt throws; it is said below
            throw;
    }
    flush_standard_output();
    return code;
}

} // namespace sluice
