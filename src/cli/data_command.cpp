// sluice data: token files from text, and what is in them.

#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "io/token_file.hpp"
#include "src/cli/commands.hpp"
#include "src/config/run_config.hpp"
#include "src/data/batch_listing.hpp"
#include "src/data/prepare.hpp"
#include "src/data/token_file_listing.hpp"
#include "src/train/progress_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fmt/format.h>
#include <memory>

namespace sluice {

namespace {

/// "123", "5.6k", "78.9M": three digits are enough while work goes on.
std::string short_count(double value, double base)
{
    static constexpr const char* prefixes[] = {"", "k", "M", "G", "T", "P"};
    std::size_t prefix = 0;
    for (; value >= base && prefix + 1 < std::size(prefixes); ++prefix)
        value /= base;
    return fmt::format("{:.{}f}{}", value, prefix > 0 && value < 100.0 ? 1 : 0, prefixes[prefix]);
}

std::string count_of(std::uint64_t count, const char* unit)
{
    return short_count(static_cast<double>(count), 1000.0) + " " + unit;
}

/// "78.9 MiB".
std::string bytes_text(double bytes)
{
    std::string text = short_count(bytes, 1024.0);
    if (!std::isalpha(static_cast<unsigned char>(text.back())))
        return text + " B";
    const char prefix = text.back();
    text.pop_back();
    return text + " " + (prefix == 'k' ? 'K' : prefix) + "iB";
}

std::string clock_text(double seconds)
{
    const auto whole = static_cast<std::int64_t>(seconds);
    return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                        : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string bar_text(double share)
{
    constexpr int width = 20;
    const int full = std::clamp(static_cast<int>(share * width), 0, width);
    return "[" + std::string(static_cast<std::size_t>(full), '#') +
           std::string(static_cast<std::size_t>(width - full), '.') + "]";
}

/// `limit_bytes`: --max-bytes, which may end the work long before the input does.
std::string progress_text(const PrepareProgress& at, std::uint64_t limit_bytes)
{
    const double input_share = static_cast<double>(at.input_bytes_done) /
                               static_cast<double>(std::max<std::uint64_t>(1, at.input_bytes));
    const double share = std::max(input_share, static_cast<double>(at.text_bytes) /
                                                   static_cast<double>(limit_bytes));
    const double remaining = share > 0.0 ? at.seconds * (1.0 - share) / share : 0.0;
    return fmt::format("{} {:3.0f}%  {}  {}  {}/s  ETA {}", bar_text(share), 100.0 * share,
                       count_of(at.documents, "documents"), count_of(at.tokens, "tokens"),
                       bytes_text(static_cast<double>(at.text_bytes) / at.seconds),
                       clock_text(remaining));
}

void print_file(const char* role, const PreparedFile& file)
{
    if (!file.path.empty())
        fmt::print("{:<12}{}  {} documents  {} tokens  {}\n", role, file.path.string(),
                   file.num_documents, file.num_tokens,
                   bytes_text(static_cast<double>(file.size_bytes)));
}

void print_summary(const PrepareSummary& summary, const Tokenizer& tokenizer)
{
    const TextSourceCounts& source = summary.source;
    fmt::print("{:<12}{} files  {} documents  {} of text\n", "read", source.files_read,
               source.documents, bytes_text(static_cast<double>(source.text_bytes)));
    if (source.files_not_text + source.files_empty + source.empty_documents > 0)
        fmt::print("{:<12}{} files that are not text, {} empty files, {} empty JSON lines\n",
                   "passed over", source.files_not_text, source.files_empty,
                   source.empty_documents);
    fmt::print("{:<12}{} (vocabulary {})  {:.3f} bytes per token\n", "tokenizer",
               tokenizer.description(), tokenizer.vocab_size(), summary.bytes_per_token());
    print_file(summary.validation.path.empty() ? "written" : "train", summary.train);
    print_file("validation", summary.validation);
    fmt::print(
        "{:<12}{}  {}/s\n", "time", clock_text(summary.seconds),
        bytes_text(static_cast<double>(source.text_bytes) / std::max(summary.seconds, 1e-3)));
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

/// CLI11's own check speaks of a range up to 1.8e308.
std::string at_least(std::int64_t least, const std::string& text)
{
    std::int64_t value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= least)
        return {};
    return "'" + text + "' is not a whole number of " + std::to_string(least) + " or more";
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
        ->add_option("--input", options.inputs,
                     "Files, folders (every text file below them), or quoted patterns. Plain text: "
                     "a file is a document. JSON lines (.jsonl .ndjson .json): a line is one. "
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
        ->capture_default_str();
    command->add_option("--format", flags->format, "auto (by file name), text or jsonl")
        ->check(CLI::IsMember({"auto", "text", "jsonl"}).description(""))
        ->capture_default_str();
    command->add_option("--text-key", options.source.text_key, "Key of the text in JSON lines")
        ->capture_default_str();
    for (auto& [name, patterns, what] :
         {std::tuple{"--include", &options.source.selection.include,
                     "Pattern for names of files in folders, such as '*.txt'; may be repeated"},
          std::tuple{"--exclude", &options.source.selection.exclude,
                     "Pattern for names of files in folders to leave out; may be repeated"}})
        command->add_option(name, *patterns, what)
            ->take_all()
            ->expected(1)
            ->allow_extra_args(false);
    command
        ->add_option("--max-documents", options.source.max_documents,
                     "Stop after this many documents")
        ->check([](const std::string& text) { return at_least(1, text); });
    command
        ->add_option("--max-bytes", options.source.max_bytes,
                     "Stop after this much text, cutting the last document; 64M is 64 x 1024^2")
        ->transform(CLI::AsSizeValue(false).description(""));
    command
        ->add_option("--threads", options.num_threads,
                     "Threads that tokenize; the result is the same for any number [all cores]")
        ->check([](const std::string& text) { return at_least(1, text); });
    command->add_flag("--quiet", flags->quiet, "No progress and no summary");
    command->callback([&chosen, flags] {
        flags->options.source.format = format_named(flags->format);
        chosen = [flags] { return prepare(*flags); };
    });
}

struct ShowFlags {
    std::string run_file;
    std::vector<std::string> overrides;
    std::int64_t update = 0;
    std::string skips_of;
    bool json = false;
};

/// Of a checkpoint, or of a run's newest.
SkippedBatches skipped_by(const std::filesystem::path& path)
{
    if (path.empty())
        return {};
    if (std::filesystem::exists(path / "manifest.json"))
        return CheckpointReader(path).progress().skipped;
    const auto folders = list_checkpoints(path / "checkpoints");
    if (folders.empty())
        throw data_error("neither a checkpoint nor a run folder with checkpoints", path.string(),
                         "give a folder like runs/NAME or runs/NAME/checkpoints/" +
                             checkpoint_folder_name(1000));
    return CheckpointReader(folders.back()).progress().skipped;
}

int show(const ShowFlags& flags)
{
    if (flags.update < 1)
        throw usage_error("updates are counted from 1", "--update " + std::to_string(flags.update),
                          "give 1 or more");
    const RunConfig config = load_run_config(flags.run_file, flags.overrides);
    const TokenFile file(config.data.train);
    const SkippedBatches skipped = skipped_by(flags.skips_of);
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
    command->add_option("--update", flags->update, "Which update, counted from 1")->required();
    command->add_option("--set", flags->overrides, "Override one key: section.key=value")
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
    command->add_option("--skips-of", flags->skips_of,
                        "Checkpoint or run folder whose skipped batches count (docs/failures.md)");
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
