#include "io/json_lines.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <simdjson.h>

namespace sluice {

namespace {

constexpr std::size_t first_chunk_bytes = std::size_t{1} << 16; // most files are small
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;
constexpr std::size_t longest_line_bytes = std::size_t{1} << 30;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::string_view blanks = " \t\r\n";

/// What is wrong with a line.
struct BadLine {
    std::string what, remedy;
};

/// The object of one line. simdjson wants readable bytes behind the text; `padded` has them.
simdjson::simdjson_result<simdjson::dom::element> parse_line(simdjson::dom::parser& parser,
                                                             const char* padded, std::size_t size)
{
    return parser.parse(padded, size, false);
}

/// Whether the line that goes on in `stream` ends with one, blanks left out; or is so long that
/// nobody would know.
bool ends_with_brace(ByteStream& stream, std::vector<char>& piece)
{
    constexpr std::size_t longest_looked_at = std::size_t{64} << 20;
    char last = ' ';
    for (std::size_t seen = 0; seen < longest_looked_at;) {
        const std::size_t size = stream.read(piece);
        const std::string_view bytes(piece.data(), size);
        const std::string_view line = bytes.substr(0, bytes.find('\n'));
        if (const auto at = line.find_last_not_of(blanks); at != std::string_view::npos)
            last = line[at];
        if (line.size() < bytes.size() || size < piece.size())
            return last == '}';
        seen += size;
    }
    return true;
}

} // namespace

struct JsonLines::State {
    State(const std::filesystem::path& file_path, const std::string& key,
          std::function<bool(const std::string&)> forgives_lines)
        : path(file_path), text_key(key), forgives(std::move(forgives_lines)), stream(file_path)
    {
        grow();
        if (view().starts_with(byte_order_mark))
            begin += byte_order_mark.size();
    }

    std::string place() const { return path.string() + " line " + std::to_string(line); }

    UserError refusal(const BadLine& bad)
    {
        // What a damaged gzip file unpacks to looks like bad JSON; its checksum, at the end, knows.
        // A bomb's end is too far away.
        std::size_t unpacked = 0;
        if (stream.is_gzip())
            while (unpacked < longest_line_bytes && stream.read(buffer) == buffer.size())
                unpacked += buffer.size();
        return data_error(bad.what, place(), bad.remedy);
    }

    std::string_view view() const { return {buffer.data() + begin, end - begin}; }

    /// Reads another chunk behind the unread bytes, which move to the front.
    void grow()
    {
        std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                  buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
        end -= begin;
        begin = 0;
        const std::size_t wanted = std::max(end, next_chunk_bytes); // doubles: linear time
        next_chunk_bytes = std::min(2 * next_chunk_bytes, chunk_bytes);
        buffer.resize(end + wanted + simdjson::SIMDJSON_PADDING);
        const std::size_t got = stream.read(std::span(buffer).subspan(end, wanted));
        end += got;
        at_end = got < wanted;
    }

    /// The next line without its end, or false after the last.
    bool next_line(std::string_view& text)
    {
        std::size_t searched = 0;
        for (;;) {
            const std::size_t newline = view().find('\n', searched);
            if (newline != std::string_view::npos || (at_end && begin < end)) {
                text = view().substr(0, newline);
                begin += newline == std::string_view::npos ? text.size() : newline + 1;
                ++line;
                return true;
            }
            if (at_end)
                return false;
            searched = end - begin;
            if (searched > longest_line_bytes) {
                ++line;
                throw refusal({"longer than 1 GiB", "split the document, or give the file with "
                                                    "--format text if it is not JSON lines"});
            }
            grow();
        }
    }

    void text_of(std::string_view json, std::string& text)
    {
        simdjson::dom::element document;
        if (const auto error = parse_line(parser, json.data(), json.size()).get(document))
            throw BadLine{std::string("not a JSON object: ") + simdjson::error_message(error),
                          "each line must be one whole JSON object; if this is not JSON lines, "
                          "use --format text"};
        simdjson::dom::object object;
        if (document.get(object))
            throw BadLine{"a JSON value that is not an object",
                          "each line must be one whole JSON object"};
        simdjson::dom::element value;
        if (object.at_key(text_key).get(value))
            throw BadLine{"no key '" + text_key + "'" + keys_of(object),
                          "name the key that holds the text with --text-key"};
        std::string_view content;
        if (value.get(content))
            throw BadLine{"'" + text_key + "' is not a string",
                          "name the key that holds the text with --text-key"};
        text = content;
    }

    static std::string keys_of(simdjson::dom::object object)
    {
        std::string keys;
        for (const auto field : object)
            keys += (keys.empty() ? "; it has '" : ", '") + std::string(field.key) + "'";
        return keys.size() > 200 ? keys.substr(0, 200) + " ..." : keys;
    }

    std::filesystem::path path;
    std::string text_key;
    std::function<bool(const std::string&)> forgives;
    ByteStream stream;
    simdjson::dom::parser parser;
    std::vector<char> buffer;
    std::size_t begin = 0, end = 0; ///< of the unread bytes in `buffer`
    std::size_t next_chunk_bytes = first_chunk_bytes;
    bool at_end = false;
    std::uint64_t line = 0;
};

JsonLines::JsonLines(const std::filesystem::path& path, const std::string& text_key,
                     std::function<bool(const std::string&)> forgives)
    : state_(std::make_unique<State>(path, text_key, std::move(forgives)))
{
}
JsonLines::~JsonLines() = default;

bool JsonLines::next(std::string& text)
{
    std::string_view line;
    while (state_->next_line(line)) {
        if (line.find_first_not_of(blanks) == std::string_view::npos)
            continue;
        try {
            state_->text_of(line, text);
            return true;
        } catch (const BadLine& bad) {
            if (!state_->forgives || !state_->forgives(state_->place() + ": " + bad.what))
                throw state_->refusal(bad);
        }
    }
    return false;
}

std::uint64_t JsonLines::file_offset() const { return state_->stream.file_offset(); }

bool looks_like_json_lines(const std::filesystem::path& path, const std::string& text_key_of_any)
{
    ByteStream stream(path);
    std::vector<char> piece(chunk_bytes);
    const std::string head(piece.data(), stream.read(piece));
    std::string_view rest = head;
    if (rest.starts_with(byte_order_mark))
        rest.remove_prefix(byte_order_mark.size());
    const bool ends_in_head = head.size() < piece.size() || rest.find('\n') != rest.npos;
    if (!ends_in_head) // a long line: looked at by its ends, as a parser would take many times more
        return rest.starts_with('{') && ends_with_brace(stream, piece);
    simdjson::dom::parser parser;
    for (bool is_first = true; !rest.empty(); is_first = false) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        simdjson::dom::object object;
        std::string_view text;
        const bool is_object = !parser.parse(line.data(), line.size(), true).get(object);
        if (is_object && (is_first || !object.at_key(text_key_of_any).get(text)))
            return true;
        if (text_key_of_any.empty())
            return false;
    }
    return false;
}

} // namespace sluice
