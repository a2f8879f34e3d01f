// Timelines in the trace event format that Perfetto and chrome://tracing read:
//
//     {"traceEvents":[
//     {"ph":"X","name":"F3","cat":"compute","pid":0,"tid":0,"ts":12.500,"dur":8.250,"args":{...}},
//     ...],"displayTimeUnit":"ms","otherData":{...}}
//
// One event per line; times in microseconds with the nanoseconds behind the point. A process is a
// rank, a thread one of its rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

/// The row of a rank that an event stands in.
struct TraceRow {
    std::int32_t process = 0, row = 0;
};

class TraceFile {
public:
    TraceFile();
    ~TraceFile();

    void name_process(std::int32_t process, std::string_view name);
    void name_row(TraceRow row, std::string_view name);

    // Events may come in any order; the file has them by time. Times in nanoseconds.

    /// A bar. `args`: an object, or nothing.
    void add_span(TraceRow row, std::string_view category, std::string_view name,
                  std::int64_t begin_ns, std::int64_t end_ns, const nlohmann::ordered_json& args);
    /// An arrow from a bar that holds `from_ns` to one that begins at `to_ns`.
    void add_arrow(std::int64_t id, std::string_view name, TraceRow from, std::int64_t from_ns,
                   TraceRow to, std::int64_t to_ns);
    /// A curve of its own in that process.
    void add_count(std::int32_t process, std::string_view name, std::int64_t at_ns,
                   std::int64_t count);

    /// Durably. `about` goes under "otherData". Throws UserError (data).
    void write(const std::filesystem::path& path, const nlohmann::ordered_json& about);

private:
    void name(std::string_view what, TraceRow row, std::string_view name);
    void add(const nlohmann::ordered_json& head, TraceRow row, std::int64_t at_ns,
             const nlohmann::ordered_json& tail);

    std::vector<std::string> names_;
    std::vector<std::pair<std::int64_t, std::string>> events_; ///< time, line
};

} // namespace sluice
