// A lock that processes find by a file's name, on all machines that share the file system.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace sluice {

/// One process at a time holds the file, by flock(2), and its name stands in there for people. The
/// kernel lets go of it when a process ends, however it ends. Where a file system has no locks,
/// everybody gets it: then this guard is all that is lost, as why_it_guards_nothing() says.
class FileLock {
public:
    /// What becomes of the file when it is let go.
    enum class Afterwards : bool { stays, is_removed };

    explicit FileLock(std::filesystem::path path, Afterwards afterwards = Afterwards::stays)
        : path_(std::move(path)), afterwards_(afterwards)
    {
    }
    ~FileLock();
    FileLock(const FileLock&) = delete;
    FileLock& operator=(const FileLock&) = delete;

    /// Creates the file where missing. False when another holds it for all of `patience`. Throws
    /// UserError (data) when it cannot be written.
    bool take(std::chrono::milliseconds patience = std::chrono::milliseconds(0));

    /// Once taken: what the system said instead of locking it, "Function not implemented (flock)";
    /// empty where it is locked.
    const std::string& why_it_guards_nothing() const { return why_it_guards_nothing_; }

    std::string holder() const; ///< now or last: "process 4711 on n2"; empty where nobody knows
    static std::string this_process(); ///< as its name would stand there
    /// Whether this process was the last to take it, by whatever object.
    bool is_held_here() const;
    /// Whether what this object holds still is the file under that name, which others would lock.
    /// True where the file system cannot tell, or not now.
    bool is_in_place() const;

private:
    enum class Sameness : std::uint8_t { same, other, unknown };
    Sameness sameness() const;
    void let_go();

    std::filesystem::path path_;
    Afterwards afterwards_;
    int descriptor_ = -1;
    std::string why_it_guards_nothing_;
    bool tells_files_apart_ = true; ///< the file system, when it was taken
};

} // namespace sluice
