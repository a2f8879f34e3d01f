#include "io/trace_file.hpp"

#include "core/durable_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

namespace sluice {

using Json = nlohmann::ordered_json;

namespace {

/// Exactly, as no double could.
std::string microseconds(std::int64_t ns)
{
    const std::uint64_t size = ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : ns;
    return fmt::format("{}{}.{:03}", ns < 0 ? "-" : "", size / 1000, size % 1000);
}

std::string dumped(const Json& json)
{
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// {"a":1} and {"b":2} around `middle` as one object.
std::string joined(const Json& head, const std::string& middle, const Json& tail)
{
    std::string line = dumped(head);
    line.pop_back();
    line += middle;
    if (!tail.empty())
        line += "," + dumped(tail).substr(1);
    else
        line += "}";
    return line;
}

} // namespace

TraceFile::TraceFile() = default;
TraceFile::~TraceFile() = default;

void TraceFile::name(std::string_view what, TraceRow row, std::string_view name)
{
    names_.push_back(dumped(Json{{"ph", "M"},
                                 {"name", what},
                                 {"pid", row.process},
                                 {"tid", row.row},
                                 {"args", {{"name", name}}}}));
}

void TraceFile::name_process(std::int32_t process, std::string_view text)
{
    name("process_name", {process, 0}, text);
    names_.push_back(dumped(Json{{"ph", "M"},
                                 {"name", "process_sort_index"},
                                 {"pid", process},
                                 {"tid", 0},
                                 {"args", {{"sort_index", process}}}}));
}

void TraceFile::name_row(TraceRow row, std::string_view text)
{
    name("thread_name", row, text);
    names_.push_back(dumped(Json{{"ph", "M"},
                                 {"name", "thread_sort_index"},
                                 {"pid", row.process},
                                 {"tid", row.row},
                                 {"args", {{"sort_index", row.row}}}}));
}

void TraceFile::add(const Json& head, TraceRow row, std::int64_t at_ns, const Json& tail)
{
    events_.emplace_back(at_ns, joined(head,
                                       fmt::format(",\"pid\":{},\"tid\":{},\"ts\":{}", row.process,
                                                   row.row, microseconds(at_ns)),
                                       tail));
}

void TraceFile::add_span(TraceRow row, std::string_view category, std::string_view name,
                         std::int64_t begin_ns, std::int64_t end_ns, const Json& args)
{
    Json tail = Json::object();
    if (!args.empty())
        tail["args"] = args;
    const std::string middle =
        fmt::format(",\"pid\":{},\"tid\":{},\"ts\":{},\"dur\":{}", row.process, row.row,
                    microseconds(begin_ns), microseconds(std::max(begin_ns, end_ns) - begin_ns));
    events_.emplace_back(
        begin_ns, joined(Json{{"ph", "X"}, {"name", name}, {"cat", category}}, middle, tail));
}

void TraceFile::add_arrow(std::int64_t id, std::string_view name, TraceRow from,
                          std::int64_t from_ns, TraceRow to, std::int64_t to_ns)
{
    add(Json{{"ph", "s"}, {"name", name}, {"cat", "message"}, {"id", id}}, from, from_ns,
        Json::object());
    add(Json{{"ph", "f"}, {"bp", "e"}, {"name", name}, {"cat", "message"}, {"id", id}}, to, to_ns,
        Json::object());
}

void TraceFile::add_count(std::int32_t process, std::string_view name, std::int64_t at_ns,
                          std::int64_t count)
{
    add(Json{{"ph", "C"}, {"name", name}}, {process, 0}, at_ns, Json{{"args", {{"count", count}}}});
}

void TraceFile::write(const std::filesystem::path& path, const Json& about)
{
    std::stable_sort(events_.begin(), events_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string text = "{\"traceEvents\":[\n";
    const char* between = "";
    for (const std::string& line : names_) {
        text += between + line;
        between = ",\n";
    }
    for (const auto& [at_ns, line] : events_) {
        text += between + line;
        between = ",\n";
    }
    text += "\n],\"displayTimeUnit\":\"ms\",\"otherData\":" + dumped(about) + "}\n";
    write_file_durably(path, text);
}

} // namespace sluice
