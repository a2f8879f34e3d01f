#include "io/metrics_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/line_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

namespace sluice {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

/// nlohmann writes the shortest text that reads back equal; the contract says 17 digits.
std::string number_text(double value)
{
    std::string text = fmt::format("{:.17g}", value);
    if (text.find_first_of(".e") == std::string::npos)
        text += ".0"; // stays a floating-point number for strict readers
    return text;
}

/// "null" for what JSON has no number for; the line then says what it was under "nonfinite".
std::string number_or_null(double value, const std::string& key, Json& nonfinite)
{
    if (std::isfinite(value))
        return number_text(value);
    nonfinite[key] = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    return "null";
}

std::string value_text(const MetricField& field, Json& nonfinite)
{
    const std::string key(field.key);
    if (const auto* number = std::get_if<double>(&field.value))
        return number_or_null(*number, key, nonfinite);
    if (const auto* list = std::get_if<std::vector<double>>(&field.value)) {
        std::vector<std::string> parts;
        for (std::size_t i = 0; i < list->size(); ++i)
            parts.push_back(
                number_or_null((*list)[i], key + "[" + std::to_string(i) + "]", nonfinite));
        return "[" + fmt::format("{}", fmt::join(parts, ",")) + "]";
    }
    if (const auto* integer = std::get_if<std::int64_t>(&field.value))
        return Json(*integer).dump();
    if (const auto* integers = std::get_if<std::vector<std::int64_t>>(&field.value))
        return Json(*integers).dump();
    if (const auto* texts = std::get_if<std::vector<std::string>>(&field.value))
        return Json(*texts).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (const auto* flag = std::get_if<bool>(&field.value))
        return Json(*flag).dump();
    return Json(std::get<std::string>(field.value))
        .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string line_of(std::string_view event, std::span<const MetricField> fields)
{
    Json nonfinite = Json::object();
    std::string line = "{\"event\":" + Json(event).dump();
    for (const MetricField& field : fields)
        line += "," + Json(field.key).dump() + ":" + value_text(field, nonfinite);
    if (!nonfinite.empty())
        line += ",\"nonfinite\":" + nonfinite.dump();
    return line + "}\n";
}

/// The end of a file, read backwards in growing pieces.
class Tail {
public:
    Tail(int descriptor, const fs::path& path, std::uint64_t size)
        : descriptor_(descriptor), path_(path), begin_(size), end_(size)
    {
    }
    std::uint64_t end() const { return end_; }
    void drop_to(std::uint64_t end)
    {
        end_ = end;
        bytes_.resize(static_cast<std::size_t>(end - begin_));
    }
    bool ends_whole() { return end_ == 0 || (extend_if_empty(), bytes_.back() == '\n'); }
    /// Where the last line begins; `end()` must not be 0.
    std::uint64_t last_line()
    {
        extend_if_empty();
        for (;;) {
            const std::size_t newline =
                bytes_.size() < 2 ? std::string::npos : bytes_.rfind('\n', bytes_.size() - 2);
            if (newline != std::string::npos)
                return begin_ + newline + 1;
            if (begin_ == 0)
                return 0;
            extend();
        }
    }
    std::string_view text_from(std::uint64_t begin) const
    {
        return std::string_view(bytes_).substr(static_cast<std::size_t>(begin - begin_));
    }

private:
    void extend_if_empty()
    {
        if (bytes_.empty())
            extend();
    }
    void extend()
    {
        const std::uint64_t count =
            std::min<std::uint64_t>(begin_, std::max<std::uint64_t>(1u << 16, bytes_.size()));
        std::string front(static_cast<std::size_t>(count), '\0');
        if (read_at(descriptor_, begin_ - count, std::as_writable_bytes(std::span(front)), path_) !=
            front.size())
            throw file_error("read", path_, EIO);
        bytes_.insert(0, front);
        begin_ -= count;
    }

    int descriptor_;
    const fs::path& path_;
    std::string bytes_; ///< of [begin_, end_)
    std::uint64_t begin_, end_;
};

bool is_completed(const Json& line, std::int64_t completed_updates)
{
    if (!line.is_object())
        return false;
    const auto update = line.find("update");
    return update == line.end() || !update->is_number_integer() ||
           update->get<std::int64_t>() <= completed_updates;
}

/// Of saves that were written while training went on, updates later.
bool is_told_late(const Json& line)
{
    const Json event = line.value("event", Json());
    return event == "checkpoint" || event == "checkpoint_failed";
}

/// What stays of a file when a run goes on from an earlier update.
struct Kept {
    std::uint64_t end = 0; ///< of the lines of updates up to that one
    /// Lines behind it that stay all the same.
    std::string late;
};

/// Looks only at what it removes: updates grow along the file, and the file may be large.
Kept kept_lines(Tail tail, const fs::path& path, std::int64_t completed_updates)
{
    Kept kept{.end = tail.end(), .late = {}};
    std::string late; // behind kept.end once something before it goes
    std::int64_t num_unreadable = 0;
    while (tail.end() > 0) {
        const bool whole = tail.ends_whole();
        const std::uint64_t begin = tail.last_line();
        const std::string text(tail.text_from(begin));
        const Json line = whole ? Json::parse(text, nullptr, false) : Json();
        const bool completed = is_completed(line, completed_updates);
        if (completed && !is_told_late(line))
            break;
        if (completed) {
            late.insert(0, text);
        } else {
            if (whole && !line.is_object())
                ++num_unreadable;
            kept.late.insert(0, late);
            late.clear();
            kept.end = begin;
        }
        tail.drop_to(begin);
    }
    if (num_unreadable > 0)
        log_warning(path.string() + ": removed " + std::to_string(num_unreadable) +
                    " unreadable line(s) at its end");
    return kept;
}

std::string completed_lines(const std::string& lines, std::int64_t completed_updates)
{
    std::string kept;
    for (std::size_t begin = 0, end = 0; begin < lines.size(); begin = end) {
        end = lines.find('\n', begin) + 1;
        const std::string line = lines.substr(begin, end - begin);
        if (is_completed(Json::parse(line, nullptr, false), completed_updates))
            kept += line;
    }
    return kept;
}

} // namespace

MetricsFile::MetricsFile(const fs::path& path, std::int64_t completed_updates)
    : file_(std::make_unique<LineFile>(path))
{
    drop_after(completed_updates);
    sync();
}

MetricsFile::~MetricsFile() = default;

void MetricsFile::keep_refused_lines(std::size_t most_bytes)
{
    file_->keep_refused_lines(most_bytes);
}

std::string MetricsFile::why_lines_wait() const { return file_->why_lines_wait(); }

void MetricsFile::drop_after(std::int64_t completed_updates)
{
    file_->cut([&](std::uint64_t size_bytes, const std::string& waiting) {
        const Kept kept = kept_lines(Tail(file_->descriptor(), file_->path(), size_bytes),
                                     file_->path(), completed_updates);
        return LineFile::Cut{kept.end, kept.late + completed_lines(waiting, completed_updates)};
    });
}

bool MetricsFile::has(std::string_view event, std::int64_t update) const
{
    Tail tail(file_->descriptor(), file_->path(), file_->size_bytes());
    while (tail.end() > 0) {
        const std::uint64_t begin = tail.last_line();
        const Json line = Json::parse(tail.text_from(begin), nullptr, false);
        tail.drop_to(begin);
        if (!line.is_object() || !line.contains("update"))
            continue;
        const bool is_of_event = line.value("event", Json()) == event;
        if (is_of_event && line["update"] == update)
            return true;
        // Updates grow along the file, but for saves that are told of late.
        if (line.value("event", Json()) == "update" && line["update"] < update)
            return false;
    }
    return false;
}

void MetricsFile::write(std::string_view event, std::span<const MetricField> fields)
{
    file_->append(line_of(event, fields));
}

bool MetricsFile::put_back() { return file_->put_back(); }

void MetricsFile::sync() { file_->sync(); }

} // namespace sluice
