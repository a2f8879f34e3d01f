// Documents from text files, one after another, in bounded memory.
//
// Plain text: one file is one document. JSON lines (C4's form): one object per line, whose `text`
// is a document. Either may be gzipped. A document longer than `max_piece_bytes` arrives in
// several pieces, cut after a line's end where there is one; where they are cut depends on the text
// alone.
#pragma once

#include "io/input_files.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace sluice {

/// automatic: JSON lines for .jsonl, .ndjson and .json (also with .gz), plain text for the rest. A
/// .json file that was found in a folder and does not begin with a whole object in its first line
/// is plain text.
enum class TextFormat : std::uint8_t { automatic, text, jsonl };

struct TextSourceOptions {
    TextFormat format = TextFormat::automatic;
    std::string text_key = "text";
    InputSelection selection;
    std::uint64_t max_documents = std::numeric_limits<std::uint64_t>::max();
    /// Of UTF-8 text; the last document is cut to fit.
    std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
    std::size_t max_piece_bytes = std::size_t{1} << 20;
    std::uint64_t max_bad_lines = 0; ///< JSON lines without a text that are passed over
};

struct TextPiece {
    std::string text;
    std::uint64_t document = 0; ///< index of its document, from 0
    bool ends_document = true;
};

struct TextSourceCounts {
    std::uint64_t documents = 0;
    std::uint64_t text_bytes = 0;
    std::uint64_t empty_documents = 0; ///< JSON lines with an empty text: not documents
    std::uint64_t bad_lines = 0;       ///< JSON lines without one: passed over
    std::uint64_t files_read = 0;
    std::uint64_t files_not_text = 0; ///< NUL bytes or not UTF-8: passed over
    std::uint64_t files_empty = 0;
};

class TextSource {
public:
    /// Finds the files, and reads none yet. `note` (may be empty) hears, in one line each, what was
    /// passed over. Throws UserError (data) as find_input_files.
    TextSource(const std::vector<std::string>& inputs, TextSourceOptions options,
               std::function<void(const std::string&)> note = {});
    ~TextSource();

    /// The next piece, or false at the end. Throws UserError (data), naming file and line or
    /// offset: a damaged gzip file; a line that is not a JSON object with the text key, where
    /// max_bad_lines were passed over before; a file that
    /// is empty or not UTF-8 text although the user named it; and, at the end, no document at all.
    bool next(TextPiece& piece);

    const TextSourceCounts& counts() const;
    std::uint64_t total_input_bytes() const; ///< of all files, as on disk
    std::uint64_t input_bytes_done() const;  ///< of them, passed by next()

private:
    struct Reader;
    std::unique_ptr<Reader> reader_;
};

} // namespace sluice
