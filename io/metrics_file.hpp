// metrics.jsonl: one JSON object per line, floating-point numbers with 17 significant digits.
//
// JSON has no NaN and no infinity: such a number is written as null, and the line ends with
// "nonfinite":{"loss":"nan","alpha[3]":"-inf"}, which says what each was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sluice {

class LineFile;

using MetricValue = std::variant<std::int64_t, double, std::string, std::vector<double>, bool,
                                 std::vector<std::int64_t>, std::vector<std::string>>;

struct MetricField {
    std::string_view key;
    MetricValue value;
};

class MetricsFile {
public:
    /// Opens for appending. Lines of updates after `completed_updates` (written by a run that died
    /// before its next checkpoint) are removed first, and so is a half-written last line, so that
    /// every update appears once. Throws UserError (data).
    MetricsFile(const std::filesystem::path& path, std::int64_t completed_updates);
    ~MetricsFile();

    /// From now on lines that the file system refuses wait in memory instead, up to so many bytes,
    /// and are written in their order before the next one or at sync(); so are those that it took
    /// and could not put on disk.
    void keep_refused_lines(std::size_t most_bytes = std::size_t{1} << 28);
    /// Why lines wait; empty where none do.
    std::string why_lines_wait() const;

    /// Appends {"event":event, fields...} and hands the line to the operating system before
    /// returning. Throws UserError (data); the file then ends with the line before. Where refused
    /// lines are kept, that is so once too many of them wait.
    void write(std::string_view event, std::span<const MetricField> fields);
    /// Removes the lines of updates after `completed_updates`: the run went back to there.
    void drop_after(std::int64_t completed_updates);
    /// Whether there is a line of this event with this update. The lines of later updates must have
    /// been dropped.
    bool has(std::string_view event, std::int64_t update) const;
    /// Where the file was deleted, moved or replaced while it is written, which writing does not
    /// notice: puts it back under its name, whole, and what is there aside, as NAME.other. Whether
    /// that was so. Beside sync() on another thread, as write().
    bool put_back();
    /// fsync, before a checkpoint is declared complete. Throws UserError (data), also where lines
    /// still wait. May be called on another thread than write(), and beside it.
    void sync();

private:
    std::unique_ptr<LineFile> file_;
};

} // namespace sluice
