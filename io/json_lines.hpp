// JSON lines: one object per line, of which one key holds a text.
#pragma once

#include "io/byte_stream.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace sluice {

class JsonLines {
public:
    /// `text_key` names the member that holds the text. `forgives` (or empty: nothing is forgiven)
    /// hears what is wrong with a line that has no text, "c4.jsonl line 3: not a JSON object: ...",
    /// and says whether it is passed over. Throws as ByteStream.
    JsonLines(const std::filesystem::path& path, const std::string& text_key,
              std::function<bool(const std::string&)> forgives = {});
    ~JsonLines();

    /// The text of the next line that is not blank, or false at the end of the file. Throws
    /// UserError (data) naming file and line, where that is not forgiven: not JSON, not an object,
    /// no such key, not a string, longer than 1 GiB.
    bool next(std::string& text);

    std::uint64_t file_offset() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Whether the first line of the file is a whole JSON object (one of more than a MiB: begins and
/// ends like one). Where lines may be bad: or any line in its first MiB is one with a string under
/// `text_key_of_any`; empty: they may not.
bool looks_like_json_lines(const std::filesystem::path& path,
                           const std::string& text_key_of_any = {});

} // namespace sluice
