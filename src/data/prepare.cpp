#include "src/data/prepare.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "io/input_files.hpp"
#include "io/token_file_writer.hpp"
#include "src/data/parallel_tokenizer.hpp"
#include "src/process/stopwatch.hpp"
#include "src/process/threads.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// Text handed to a thread at once: large enough that handing over costs nothing.
constexpr std::size_t batch_bytes = std::size_t{1} << 18;

bool same_file(const fs::path& a, const fs::path& b)
{
    std::error_code error;
    // Of a file that is not there yet, only an absolute path has one form.
    return fs::weakly_canonical(fs::absolute(a), error) ==
           fs::weakly_canonical(fs::absolute(b), error);
}

/// What an earlier run has written between the texts may be written anew.
bool is_hdf5(const fs::path& file)
{
    std::array<char, 4> begin{};
    std::ifstream(file, std::ios::binary).read(begin.data(), begin.size());
    return std::string_view(begin.data(), begin.size()) == "\x89HDF";
}

void refuse_input(const std::string& flag, const fs::path& out, const PrepareOptions& options)
{
    if (!fs::exists(out))
        return;
    for (const InputFile& input : find_input_files(options.inputs, options.source.selection)) {
        std::error_code error;
        if (fs::equivalent(out, input.path, error) && (input.named || !is_hdf5(out)))
            throw usage_error("this is an input as well", flag + " " + out.string(),
                              "give the output another name");
    }
}

void check_options(const PrepareOptions& options)
{
    if (options.source.max_bytes == 0)
        throw usage_error("no text would be read", "--max-bytes 0", "give 1 or more");
    const bool splits = options.validation_fraction > 0.0;
    if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0))
        throw usage_error("a fraction is at least 0 and below 1", "--validation-fraction",
                          "for example --validation-fraction 0.01");
    if (splits && options.validation_out.empty())
        throw usage_error("the validation documents need a file", "--validation-fraction",
                          "add --validation-out FILE");
    if (!splits && !options.validation_out.empty())
        throw usage_error("no document would be in it", "--validation-out",
                          "add --validation-fraction, for example 0.01");
    for (const auto& [flag, out] : {std::pair<std::string, fs::path>{"--out", options.out},
                                    {"--validation-out", options.validation_out}}) {
        if (fs::is_directory(out))
            throw usage_error("this is a folder", flag + " " + out.string(),
                              "name a file, for example " + (out / "tokens.h5").string());
        replaceable_file(out); // refused before the text is read
        refuse_input(flag, out, options);
    }
    if (splits &&
        same_file(replaceable_file(options.out), replaceable_file(options.validation_out)))
        throw usage_error("training and validation cannot be the same file",
                          "--validation-out " + options.validation_out.string(),
                          "give it another name");
}

void create_folder_of(const fs::path& file)
{
    const fs::path folder = file.parent_path();
    std::error_code error;
    if (!folder.empty() && !fs::create_directories(folder, error) && error)
        throw data_error("this folder cannot be created: " + error.message(), folder.string(),
                         "give another folder, or create it");
}

/// One or two writers, and which document goes where.
class SplitWriter {
public:
    SplitWriter(const PrepareOptions& options, const Tokenizer& tokenizer) : options_(options)
    {
        train_.emplace(
            writer(options.out, tokenizer,
                   options.validation_fraction > 0.0 ? split_text("train") : std::string("all")));
        if (options.validation_fraction > 0.0)
            validation_.emplace(
                writer(options.validation_out, tokenizer, split_text("validation")));
    }

    void write(const TokenizedBatch& batch)
    {
        std::size_t begin = 0;
        for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
            const TextPiece& piece = batch.pieces[i];
            TokenFileWriter& to = writer_of(piece.document);
            to.append(std::span(batch.tokens).subspan(begin, batch.ends[i] - begin));
            begin = batch.ends[i];
            digest_.update(std::as_bytes(std::span(piece.text)));
            document_bytes_ += piece.text.size();
            if (piece.ends_document) {
                to.end_document();
                // The length keeps "ab" + "c" and "a" + "bc" apart.
                digest_.update(std::as_bytes(std::span(&document_bytes_, 1)));
                document_bytes_ = 0;
            }
        }
    }

    std::uint64_t num_tokens() const
    {
        return train_->num_tokens() + (validation_ ? validation_->num_tokens() : 0);
    }

    void finish(PrepareSummary& summary)
    {
        require_documents();
        summary.train = finish(*train_, options_.out);
        if (validation_)
            summary.validation = finish(*validation_, options_.validation_out);
    }

private:
    static TokenFileWriter make_writer(const fs::path& path, TokenFileOrigin origin)
    {
        create_folder_of(path);
        return {path, std::move(origin)};
    }

    TokenFileWriter writer(const fs::path& path, const Tokenizer& tokenizer,
                           std::string split) const
    {
        return make_writer(path, {tokenizer.description(), tokenizer.vocab_size(),
                                  tokenizer.end_token(), std::move(split), options_.created_by});
    }

    std::string split_text(const char* half) const
    {
        std::ostringstream text;
        text << half << ", validation fraction " << options_.validation_fraction << ", split seed "
             << options_.split_seed;
        return text.str();
    }

    TokenFileWriter& writer_of(std::uint64_t document)
    {
        const bool validation = validation_ && in_validation(options_.split_seed, document,
                                                             options_.validation_fraction);
        return validation ? *validation_ : *train_;
    }

    void require_documents() const
    {
        const std::uint64_t documents =
            train_->num_documents() + (validation_ ? validation_->num_documents() : 0);
        if (documents == 0)
            throw data_error("not one character of the input fits", "--max-bytes",
                             "allow more bytes");
        if (!validation_ || (train_->num_documents() > 0 && validation_->num_documents() > 0))
            return;
        const bool no_validation = validation_->num_documents() == 0;
        throw data_error(std::string("the split by document leaves no document for ") +
                             (no_validation ? "validation" : "training") + ": the input has " +
                             std::to_string(documents) +
                             (documents == 1 ? " document" : " documents"),
                         "--validation-fraction " + std::to_string(options_.validation_fraction),
                         documents == 1 ? "a plain text file is one document: cut the validation "
                                          "text into a file of its own and prepare it by itself"
                                        : "choose another fraction or another --split-seed, or "
                                          "prepare validation text by itself");
    }

    PreparedFile finish(TokenFileWriter& writer, const fs::path& path)
    {
        const std::uint64_t size = writer.finish(digest_.hex());
        return {path, writer.num_documents(), writer.num_tokens(), size};
    }

    const PrepareOptions& options_;
    std::optional<TokenFileWriter> train_, validation_;
    Checksum digest_; ///< of the text of all documents
    std::uint64_t document_bytes_ = 0;
};

std::vector<TextPiece> next_batch(TextSource& source)
{
    std::vector<TextPiece> pieces;
    std::size_t bytes = 0;
    TextPiece piece;
    while (bytes < batch_bytes && source.next(piece)) {
        bytes += piece.text.size();
        pieces.push_back(std::move(piece));
    }
    return pieces;
}

} // namespace

bool in_validation(std::uint64_t split_seed, std::uint64_t document, double validation_fraction)
{
    return RandomStream(split_seed, "data.split").uniform(document) < validation_fraction;
}

PrepareSummary prepare_tokens(const PrepareOptions& options, const Tokenizer& tokenizer,
                              const PrepareListener& listener)
{
    check_options(options);
    const Stopwatch watch;
    TextSource source(options.inputs, options.source, listener.note);
    SplitWriter writer(options, tokenizer);
    ParallelTokenizer tokenizing(tokenizer, threads_for_this_rank(options.num_threads));
    const auto write_oldest = [&] {
        writer.write(tokenizing.take());
        if (listener.progress)
            listener.progress({source.input_bytes_done(), source.total_input_bytes(),
                               source.counts().documents, source.counts().text_bytes,
                               writer.num_tokens(), watch.seconds()});
    };
    for (std::vector<TextPiece> pieces = next_batch(source); !pieces.empty();
         pieces = next_batch(source)) {
        tokenizing.submit(std::move(pieces));
        if (tokenizing.num_in_flight() == tokenizing.max_in_flight())
            write_oldest();
    }
    while (tokenizing.num_in_flight() > 0)
        write_oldest();
    PrepareSummary summary;
    writer.finish(summary);
    summary.source = source.counts();
    summary.seconds = watch.seconds();
    return summary;
}

} // namespace sluice
