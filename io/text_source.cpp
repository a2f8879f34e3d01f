#include "io/text_source.hpp"

#include "core/error.hpp"
#include "io/byte_stream.hpp"
#include "io/json_lines.hpp"
#include "io/utf8_text.hpp"

#include <algorithm>

namespace sluice {

namespace {

constexpr std::size_t read_step_bytes = std::size_t{1} << 17;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// Where to cut the first piece off `text`, which is longer than `limit`: after its last line's
/// end, else between code points.
std::size_t piece_end(std::string_view text, std::size_t limit)
{
    const std::string_view head = text.substr(0, limit);
    const std::size_t newline = head.rfind('\n');
    return newline == std::string_view::npos ? std::max<std::size_t>(1, whole_code_points(head))
                                             : newline + 1;
}

TextFormat format_of(const InputFile& file, const std::string& text_key_of_any)
{
    std::string lower = file.path.filename().string();
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char letter) { return std::tolower(letter); });
    std::filesystem::path name = lower;
    if (name.extension() == ".gz")
        name = name.stem();
    if (name.extension() == ".jsonl" || name.extension() == ".ndjson")
        return TextFormat::jsonl;
    if (name.extension() == ".json" &&
        (file.named || looks_like_json_lines(file.path, text_key_of_any)))
        return TextFormat::jsonl;
    return TextFormat::text;
}

/// "bzip2", where the bytes begin as its files do; empty where we know no such program.
std::string_view compressed_by(std::string_view bytes)
{
    for (const auto& [program, magic] :
         {std::pair<std::string_view, std::string_view>{"bzip2", "BZh"},
          {"zstd", "\x28\xb5\x2f\xfd"},
          {"xz", "\xfd\x37zXZ"}})
        if (bytes.starts_with(magic))
            return program;
    return {};
}

} // namespace

struct TextSource::Reader {
    std::vector<InputFile> files;
    TextSourceOptions options;
    std::function<void(const std::string&)> note;
    TextSourceCounts counts;
    std::uint64_t total_bytes = 0, bytes_of_files_before = 0;
    std::size_t next_file = 0;

    std::unique_ptr<ByteStream> plain; ///< the open file, one of the two
    std::unique_ptr<JsonLines> json;

    std::string text; ///< text[begin..] is the read and not yet handed out part of the document
    std::size_t begin = 0;
    bool in_document = false;
    bool document_is_whole = false; ///< nothing of it is left in the file
    bool stopped = false;           ///< a maximum was reached

    bool file_is_open() const { return plain || json; }

    void close_file()
    {
        plain.reset();
        json.reset();
        bytes_of_files_before += files[next_file - 1].size_bytes;
    }

    /// Opens the next file, or passes it over. False when there is none.
    bool open_next()
    {
        if (next_file == files.size())
            return false;
        const InputFile& file = files[next_file++];
        const TextFormat format =
            options.format == TextFormat::automatic
                ? format_of(file, options.max_bad_lines > 0 ? options.text_key : "")
                : options.format;
        if (format == TextFormat::jsonl) {
            json = std::make_unique<JsonLines>(
                file.path, options.text_key,
                [this](const std::string& problem) { return forgives(problem); });
            ++counts.files_read;
            return true;
        }
        plain = std::make_unique<ByteStream>(file.path);
        text.clear();
        begin = 0;
        read_plain();
        if (text.empty() || text == byte_order_mark)
            pass_over(file, counts.files_empty, "it is empty",
                      "leave it out, or give a file that holds text");
        else if (const std::string problem = why_not_text(file); !problem.empty())
            refuse_or_pass_over(file, problem);
        else
            begin_plain_document(file);
        return true;
    }

    bool forgives(const std::string& bad_line)
    {
        if (counts.bad_lines == options.max_bad_lines)
            return false;
        ++counts.bad_lines;
        if (note)
            note("passed over " + bad_line);
        return true;
    }

    void refuse_or_pass_over(const InputFile& file, const std::string& problem)
    {
        const std::string program(compressed_by(text));
        pass_over(file, counts.files_not_text,
                  program.empty() ? "not text: " + problem : "compressed by " + program,
                  program.empty() ? "give UTF-8 text (iconv converts other encodings), or a "
                                    "folder, in which such files are passed over"
                                  : "decompress it first; of compressed files those of gzip are "
                                    "read");
    }

    void pass_over(const InputFile& file, std::uint64_t& count, const std::string& problem,
                   const std::string& remedy)
    {
        if (file.named)
            throw data_error(problem, file.path.string(), remedy);
        ++count;
        close_file();
        if (note)
            note("passed over " + file.path.string() + ": " + problem);
    }

    std::string why_not_text(const InputFile& file) const
    {
        TextCheck check;
        bool good = check.feed(text);
        if (!document_is_whole) { // a second pass, so that nothing of a bad file is handed out
            ByteStream again(file.path);
            std::vector<char> chunk(options.max_piece_bytes);
            check = {};
            for (std::size_t got = chunk.size(); got == chunk.size() && good;) {
                got = again.read(chunk);
                good = check.feed({chunk.data(), got});
            }
        }
        check.finish();
        return check.problem();
    }

    void begin_plain_document(const InputFile& file)
    {
        ++counts.files_read;
        if (note && options.format == TextFormat::automatic && text.starts_with('{') &&
            looks_like_json_lines(file.path))
            note(file.path.string() + " is read as text, though its first line is a JSON object: "
                                      "--format jsonl reads one document per line");
        if (text.starts_with(byte_order_mark))
            begin = byte_order_mark.size();
        in_document = true;
    }

    /// More than one piece of the open plain file, or all that is left of it.
    void read_plain()
    {
        text.erase(0, begin);
        begin = 0;
        const std::size_t wanted = options.max_piece_bytes + 1;
        document_is_whole = false;
        while (text.size() < wanted && !document_is_whole) { // in steps: most files are small
            const std::size_t have = text.size();
            text.resize(std::min(wanted, have + read_step_bytes));
            const std::size_t got = plain->read(std::span(text).subspan(have));
            document_is_whole = have + got < text.size();
            text.resize(have + got);
        }
    }

    /// The next document's beginning in `text`. False when there is none.
    bool begin_document()
    {
        while (!in_document) {
            if (!file_is_open()) {
                if (!open_next())
                    return false;
            } else if (json) {
                if (!json->next(text))
                    close_file();
                else if (text.empty())
                    ++counts.empty_documents;
                else
                    in_document = document_is_whole = true;
                begin = 0;
            } else {
                close_file();
            }
        }
        return true;
    }

    bool next(TextPiece& piece)
    {
        if (stopped || (!in_document && (counts.documents == options.max_documents ||
                                         counts.text_bytes == options.max_bytes)))
            return false;
        const bool continues = in_document;
        if (!begin_document()) {
            require_documents();
            return false;
        }
        if (plain && !document_is_whole)
            read_plain();
        std::string_view rest = std::string_view(text).substr(begin);
        const bool last = document_is_whole && rest.size() <= options.max_piece_bytes;
        if (!last)
            rest = rest.substr(0, piece_end(rest, options.max_piece_bytes));
        const std::uint64_t allowed = options.max_bytes - counts.text_bytes;
        stopped = rest.size() > allowed;
        if (stopped)
            rest = rest.substr(0, whole_code_points(rest.substr(0, allowed)));
        if (stopped && rest.empty() && !continues)
            return false;
        piece.text = rest;
        piece.document = counts.documents;
        piece.ends_document = last || stopped;
        begin += rest.size();
        counts.text_bytes += rest.size();
        counts.documents += piece.ends_document ? 1 : 0;
        in_document = !piece.ends_document;
        return true;
    }

    void require_documents() const
    {
        if (counts.documents > 0)
            return;
        throw data_error("there is no text in the input: " + std::to_string(files.size()) +
                             " files, " + std::to_string(counts.files_not_text) +
                             " of them not text, " + std::to_string(counts.files_empty) +
                             " empty, " + std::to_string(counts.empty_documents) +
                             " empty JSON lines and " + std::to_string(counts.bad_lines) +
                             " bad ones",
                         files.size() == 1 ? files.front().path.string() : std::string("--input"),
                         "give files or folders that hold UTF-8 text or JSON lines");
    }
};

TextSource::TextSource(const std::vector<std::string>& inputs, TextSourceOptions options,
                       std::function<void(const std::string&)> note)
    : reader_(std::make_unique<Reader>())
{
    SLUICE_CHECK(options.max_piece_bytes >= 4, "max_piece_bytes " << options.max_piece_bytes);
    reader_->files = find_input_files(inputs, options.selection);
    for (const InputFile& file : reader_->files)
        reader_->total_bytes += file.size_bytes;
    reader_->options = std::move(options);
    reader_->note = std::move(note);
}
TextSource::~TextSource() = default;

bool TextSource::next(TextPiece& piece) { return reader_->next(piece); }
const TextSourceCounts& TextSource::counts() const { return reader_->counts; }
std::uint64_t TextSource::total_input_bytes() const { return reader_->total_bytes; }

std::uint64_t TextSource::input_bytes_done() const
{
    std::uint64_t done = reader_->bytes_of_files_before;
    if (reader_->plain)
        done += reader_->plain->file_offset();
    if (reader_->json)
        done += reader_->json->file_offset();
    return done;
}

} // namespace sluice
