// A file that grows by whole lines, also where its file system refuses some for a while.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace sluice {

class LineFile {
public:
    /// Opens for appending, created where missing. Throws UserError (data), as what follows does.
    explicit LineFile(std::filesystem::path path);
    ~LineFile();
    LineFile(const LineFile&) = delete;
    LineFile& operator=(const LineFile&) = delete;

    const std::filesystem::path& path() const { return path_; }
    int descriptor() const { return descriptor_; }
    std::uint64_t size_bytes() const; ///< of the whole lines

    /// From now on lines that the file system refuses wait in memory, up to so many bytes, and are
    /// written in their order before the next one or at sync(); so are those that it took and could
    /// not put on disk, if they are not more than that.
    void keep_refused_lines(std::size_t most_bytes);
    /// What the file system said of them; empty where none wait.
    std::string why_lines_wait() const;

    /// Hands whole lines to the operating system. Throws where it refuses them; the file then ends
    /// with the line before. Where refused lines are kept: once too many wait.
    void append(std::string_view lines);
    struct Cut {
        std::uint64_t end = 0; ///< bytes of the file that stay
        std::string behind{};  ///< to be appended, in place of the lines that wait
    };
    /// Makes of the file and of the lines that wait what `decide(size_bytes, waiting)` says. No
    /// line goes from one to the other in between; `decide` may use descriptor() and path() alone.
    void cut(const std::function<Cut(std::uint64_t, const std::string&)>& decide);
    /// Where the file was deleted, moved or replaced: puts it back under its name, whole, and what
    /// is there aside, as NAME.other. Whether that was so.
    bool put_back();
    /// fsync. Throws where lines still wait, too. May be called on another thread than the rest,
    /// and beside it.
    void sync();

private:
    void truncate(std::uint64_t to_bytes);
    void write_out(std::string_view lines);
    void write_waiting();
    void write_or_keep(std::string_view lines);
    void remember_unsynced(std::string_view lines);
    void take_back_unsynced(const std::string& why);
    bool is_in_place() const;

    std::filesystem::path path_;
    int descriptor_ = -1;
    std::uint64_t size_bytes_ = 0;
    mutable std::mutex mutex_;        ///< sync() comes on another thread
    std::size_t most_kept_bytes_ = 0; ///< 0: refused lines are not kept
    std::string waiting_, why_waiting_;
    std::string unsynced_; ///< where refused lines are kept: the file behind synced_bytes_
    std::uint64_t synced_bytes_ = 0; ///< of the file, that are on disk
};

} // namespace sluice
