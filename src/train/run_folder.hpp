// The folder of a run: config.toml, metrics.jsonl, log.txt, checkpoints/, trace/, status.json.
#pragma once

#include "core/file_lock.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace sluice {

/// Held by rank 0 while it trains, so that two runs never write into one folder.
class RunFolder {
public:
    explicit RunFolder(std::filesystem::path path) : path_(std::move(path)), lock_(path_ / ".lock")
    {
    }

    /// Creates the folder where missing and locks it; what its status.json says then is an earlier
    /// job's. Throws UserError (data) when it cannot be
    /// written, or (usage) when another run still holds it after 5 s: one that was killed a moment
    /// ago may be on its way out.
    void create_and_lock();

    /// Locks a folder that is there. False when another process holds it for all of `patience`.
    /// Throws UserError (data) when it cannot be written.
    bool lock(std::chrono::milliseconds patience = std::chrono::milliseconds(0));

    /// On rank 0 while it trains: people delete lock files that look left over, and move folders.
    /// Locks the folder again where its lock is gone. Returns what people are to be warned of, once
    /// while it lasts, or nothing. Throws UserError (data) where another run has begun there since.
    std::string keep_lock();

    /// Whether this process was the last to lock it, by whatever object.
    bool is_held_here() const { return lock_.is_held_here(); }
    /// Likewise another one, by FileLock::this_process() there.
    bool is_held_by(const std::string& process) const { return lock_.holder() == process; }
    /// keep_lock() has found another run in it.
    bool was_taken() const { return taken_; }

    /// Writes the resolved run file as config(). One that somebody else has written stays beside
    /// it, as config.toml.other, with a warning.
    void write_config(std::string_view resolved) const;

    /// Keeps the metrics of another history beside those that this run begins.
    void set_metrics_aside() const;

    /// Replaces status.json, unless it says since create_and_lock() that the run has failed: then
    /// another rank has declared the job failed while this one was stopped, and it has only woken
    /// up to be ended.
    void tell(std::string_view state, std::int64_t update, std::string_view reason, int exit_code);
    std::string status_text() const; ///< nothing where there is none
    /// For whoever is left when the ranks are gone: where status.json still says that the run is
    /// running, it says from now on that the run has failed, and so does the log. The update
    /// stays, which is that of the newest checkpoint. Errors are ignored.
    void tell_ended_without_a_word(std::string_view reason) const;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path config() const { return path_ / "config.toml"; }
    std::filesystem::path metrics() const { return path_ / metrics_name; }
    /// Of the run whose checkpoints() these are.
    static std::filesystem::path metrics_beside(const std::filesystem::path& checkpoints)
    {
        return checkpoints.parent_path() / metrics_name;
    }
    std::filesystem::path log() const { return path_ / "log.txt"; }
    std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
    std::filesystem::path traces() const { return path_ / "trace"; }
    std::filesystem::path status() const { return path_ / "status.json"; }
    /// Put there by people who want the run to save and stop.
    std::filesystem::path stop_file() const { return path_ / "STOP"; }
    /// What the launcher was asked to stop by, in one word: its ranks hear SIGUSR1 only.
    std::filesystem::path signal_file() const { return path_ / ".stop-signal"; }

private:
    static constexpr const char* metrics_name = "metrics.jsonl";
    void create_folders() const;
    std::string lock_again();
    void refuse_where_taken();

    std::filesystem::path path_;
    FileLock lock_;
    std::string last_status_;
    std::atomic<bool> taken_{false};
    bool told_of_lock_ = false; ///< that it is gone, and cannot be taken again
};

/// Whether it is the config.toml of a run folder.
bool is_config_of_a_run(const std::filesystem::path& run_file);

/// `run_dir` as asked for, or, where that is empty, runs/<name of the run file>; where the run file
/// is_config_of_a_run(), its folder.
std::filesystem::path run_dir_of(const std::string& run_file, const std::string& run_dir);

} // namespace sluice
