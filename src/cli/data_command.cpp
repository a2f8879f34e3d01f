// sluice data: token files from text, and what is in them.

#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "io/token_file.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/option_checks.hpp"
#include "src/cli/repeated_option.hpp"
#include "src/config/run_config.hpp"
#include "src/data/batch_listing.hpp"
#include "src/data/prepare.hpp"
#include "src/data/token_file_listing.hpp"
#include "src/inspect/checkpoint_list.hpp"
#include "src/text/number_text.hpp"
#include "src/train/progress_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <memory>

namespace sluice {

namespace {

std::string bar_text(double share)
{
    constexpr int width = 20;
    const int full = std::clamp(static_cast<int>(share * width), 0, width);
    return "[" + std::string(static_cast<std::size_t>(full), '#') +
           std::string(static_cast<std::size_t>(width - full), '.') + "]";
}

/// "12.5 MB/s".
std::string rate_text(std::uint64_t bytes, double seconds)
{
    const double rate = static_cast<double>(bytes) / std::max(seconds, 1e-3);
    return bytes_text(static_cast<std::size_t>(rate)) + "/s";
}

/// `limit_bytes`: --max-bytes, which may end the work long before the input does.
std::string progress_text(const PrepareProgress& at, std::uint64_t limit_bytes)
{
    const double input_share = static_cast<double>(at.input_bytes_done) /
                               static_cast<double>(std::max<std::uint64_t>(1, at.input_bytes));
    const double share = std::max(input_share, static_cast<double>(at.text_bytes) /
                                                   static_cast<double>(limit_bytes));
    const double remaining = share > 0.0 ? at.seconds * (1.0 - share) / share : 0.0;
    return fmt::format("{} {:3.0f}%  {} documents  {} tokens  {}  ETA {}", bar_text(share),
                       100.0 * share, count_text(static_cast<double>(at.documents)),
                       count_text(static_cast<double>(at.tokens)),
                       rate_text(at.text_bytes, at.seconds), duration_text(remaining));
}

void print_file(const char* role, const PreparedFile& file)
{
    if (!file.path.empty())
        fmt::print("{:<12}{}  {} documents  {} tokens  {}\n", role, file.path.string(),
                   file.num_documents, file.num_tokens, bytes_text(file.size_bytes));
}

void print_summary(const PrepareSummary& summary, const Tokenizer& tokenizer)
{
    const TextSourceCounts& source = summary.source;
    fmt::print("{:<12}{} files  {} documents  {} of text\n", "read", source.files_read,
               source.documents, bytes_text(source.text_bytes));
    if (source.files_not_text + source.files_empty + source.empty_documents + source.bad_lines > 0)
        fmt::print("{:<12}{} files that are not text, {} empty files, {} empty JSON lines, {} bad "
                   "ones\n",
                   "passed over", source.files_not_text, source.files_empty, source.empty_documents,
                   source.bad_lines);
    fmt::print("{:<12}{} (vocabulary {})  {:.3f} bytes per token\n", "tokenizer",
               tokenizer.description(), tokenizer.vocab_size(), summary.bytes_per_token());
    print_file(summary.validation.path.empty() ? "written" : "train", summary.train);
    print_file("validation", summary.validation);
    fmt::print("{:<12}{}  {}\n", "time", duration_text(summary.seconds),
               rate_text(source.text_bytes, summary.seconds));
}

struct PrepareFlags {
    PrepareOptions options;
    std::string tokenizer;
    std::string format = "auto";
    bool quiet = false;
};

TextFormat format_named(const std::string& name)
{
    return name == "text" ? TextFormat::text
                          : (name == "jsonl" ? TextFormat::jsonl : TextFormat::automatic);
}

int prepare(const PrepareFlags& flags)
{
    constexpr int num_notes_shown = 5;
    const auto tokenizer = make_tokenizer(flags.tokenizer);
    ProgressLine line(stderr);
    int num_notes = 0;
    PrepareListener listener;
    if (!flags.quiet) {
        listener.progress = [&](const PrepareProgress& at) {
            // Work of a second needs no telling, least of all into a log.
            if (at.seconds >= (line.is_terminal() ? 0.2 : 2.0) && line.due())
                line.update(progress_text(at, flags.options.source.max_bytes));
        };
        listener.note = [&](const std::string& text) {
            if (++num_notes <= num_notes_shown)
                line.note(text);
            if (num_notes == num_notes_shown + 1)
                line.note("... and more; the summary counts them");
        };
    }
    const PrepareSummary summary = [&] {
        try {
            return prepare_tokens(flags.options, *tokenizer, listener);
        } catch (...) {
            line.clear();
            throw;
        }
    }();
    line.finish();
    if (!flags.quiet)
        print_summary(summary, *tokenizer);
    return static_cast<int>(ExitCode::finished);
}

void add_prepare(CLI::App& data, ChosenCommand& chosen)
{
    auto flags = std::make_shared<PrepareFlags>();
    PrepareOptions& options = flags->options;
    options.created_by = "sluice " SLUICE_VERSION;
    CLI::App* command = data.add_subcommand("prepare", "Turn text into a token file");
    command
        ->add_option(
            "--input", options.inputs,
            "Files, folders (every text file below them), or quoted patterns (* ? [...]) of "
            "either. "
            "Plain text: a file is a document. JSON lines (.jsonl .ndjson .json): a line is one. "
            "Gzip (.gz) of either")
        ->required();
    command
        ->add_option("--tokenizer", flags->tokenizer,
                     "bytes (257 ids), or a SentencePiece .model file")
        ->required();
    command->add_option("--out", options.out, "Token file to write (replaced when it exists)")
        ->required();
    command->add_option("--validation-fraction", options.validation_fraction,
                        "Share of the documents that goes to --validation-out instead");
    command->add_option("--validation-out", options.validation_out, "Token file of that share");
    command->add_option("--split-seed", options.split_seed, "Chooses which documents those are")
        ->check(at_least(0).description(""))
        ->capture_default_str();
    command->add_option("--format", flags->format, "auto (by file name), text or jsonl")
        ->check(CLI::IsMember({"auto", "text", "jsonl"}).description(""))
        ->capture_default_str();
    command->add_option("--text-key", options.source.text_key, "Key of the text in JSON lines")
        ->capture_default_str();
    command
        ->add_option(
            "--max-bad-lines", options.source.max_bad_lines,
            "Pass over so many JSON lines that have no text, over all files; one more ends "
            "the work, as the first does by default")
        ->check(not_negative())
        ->capture_default_str();
    add_repeated_option(*command, "--include", options.source.selection.include,
                        "Pattern for names of files in folders, such as '*.txt'; may be repeated");
    add_repeated_option(*command, "--exclude", options.source.selection.exclude,
                        "Pattern for names of files in folders to leave out; may be repeated");
    command
        ->add_option("--max-documents", options.source.max_documents,
                     "Stop after this many documents")
        ->check(at_least(1));
    command
        ->add_option("--max-bytes", options.source.max_bytes,
                     "Stop after this much text, cutting the last document; 64M is 64 x 1024^2")
        ->transform(CLI::AsSizeValue(false).description(""))
        ->transform(not_negative()); // comes first
    command
        ->add_option("--threads", options.num_threads,
                     "Threads that tokenize; the result is the same for any number [all cores]")
        ->check(at_least(1));
    command->add_flag("--quiet", flags->quiet, "No progress and no summary");
    command->callback([&chosen, flags] {
        flags->options.source.format = format_named(flags->format);
        chosen = [flags] { return prepare(*flags); };
    });
}

/// As many as run.updates may be.
constexpr std::int64_t most_updates = 1'000'000'000;

struct ShowFlags {
    std::string run_file;
    std::vector<std::string> overrides;
    std::int64_t update = 0;
    std::string skips_of;
    bool json = false;
};

int show(const ShowFlags& flags)
{
    const RunConfig config = load_run_config(flags.run_file, flags.overrides);
    const TokenFile file(config.data.train);
    SkippedBatches skipped;
    if (!flags.skips_of.empty())
        skipped = CheckpointReader(checkpoint_at(flags.skips_of)).progress().skipped;
    const auto samples = list_batch(config, file, skipped.batch_of(flags.update));
    if (!skipped.empty())
        fmt::print(stderr, "note: batches {} are skipped; update {} trains on batch {}\n",
                   skipped.text(), flags.update, skipped.batch_of(flags.update));
    if (flags.update > config.run.updates)
        fmt::print(stderr, "note: the run ends with update {}\n", config.run.updates);
    const std::string text = flags.json ? listing_json(flags.update, samples) + "\n"
                                        : listing_text(flags.update, samples, file.info());
    std::fwrite(text.data(), 1, text.size(), stdout);
    return static_cast<int>(ExitCode::finished);
}

void add_show(CLI::App& data, ChosenCommand& chosen)
{
    auto flags = std::make_shared<ShowFlags>();
    CLI::App* command =
        data.add_subcommand("show", "Print the token ids that one update of a run trains on");
    command->add_option("RUN.toml", flags->run_file, "Run file")->required();
    command->add_option("--update", flags->update, "Which update, counted from 1")
        ->required()
        ->check(CLI::Range(std::int64_t{1}, most_updates).description(""));
    add_set_option(*command, flags->overrides);
    command->add_option("--skips-of", flags->skips_of,
                        "Checkpoint, or run folder (its newest), whose skipped batches count "
                        "(docs/failures.md)");
    command->add_flag("--json", flags->json, "One JSON object instead of text");
    command->callback([&chosen, flags] { chosen = [flags] { return show(*flags); }; });
}

struct InfoFlags {
    std::string file;
    bool verify = false, json = false;
};

int info(const InfoFlags& flags)
{
    const TokenFile file(flags.file);
    if (flags.verify)
        file.verify();
    const std::string text = flags.json ? token_file_json(file.info(), flags.verify)
                                        : token_file_text(file.info(), flags.verify);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return static_cast<int>(ExitCode::finished);
}

void add_info(CLI::App& data, ChosenCommand& chosen)
{
    auto flags = std::make_shared<InfoFlags>();
    CLI::App* command = data.add_subcommand("info", "Say what is in a token file");
    command->add_option("FILE", flags->file, "Token file")->required();
    command->add_flag("--verify", flags->verify, "Read all of it and compare checksums");
    command->add_flag("--json", flags->json, "One JSON object instead of text");
    command->callback([&chosen, flags] { chosen = [flags] { return info(*flags); }; });
}

} // namespace

void add_data_command(CLI::App& app, ChosenCommand& chosen)
{
    CLI::App* data = app.add_subcommand("data", "Prepare text for training, and look at tokens");
    // Not required of CLI11, so that a misspelt one is told from none and the nearest is named.
    data->require_subcommand(0, 1);
    data->callback([&chosen, data] {
        if (data->get_subcommands().empty())
            chosen = [data] {
                fmt::print(stderr, "{}", data->help("sluice"));
                return static_cast<int>(ExitCode::usage);
            };
    });
    add_prepare(*data, chosen);
    add_show(*data, chosen);
    add_info(*data, chosen);
}

} // namespace sluice
