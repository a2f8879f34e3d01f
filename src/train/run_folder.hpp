// The folder of a run: config.toml, metrics.jsonl, log.txt, checkpoints/, trace/, status.json.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace sluice {

/// Held by rank 0 while it trains, so that two runs never write into one folder.
class RunFolder {
public:
    explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
    ~RunFolder();
    RunFolder(const RunFolder&) = delete;
    RunFolder& operator=(const RunFolder&) = delete;

    /// Creates the folder where missing and locks it. Throws UserError (data) when it cannot be
    /// written, or (usage) when another run still holds it after 5 s: one that was killed a moment
    /// ago may be on its way out.
    void create_and_lock();

    /// Locks a folder that is there. False when another process holds it for all of `patience`.
    /// Throws UserError (data) when it cannot be written.
    bool lock(std::chrono::milliseconds patience = std::chrono::milliseconds(0));

    /// On rank 0, from before the ranks watch each other: what stands in status.json is an earlier
    /// job's.
    void remember_status() { last_status_ = status_text(); }
    /// Replaces status.json, unless another rank has since: then the job has been declared failed
    /// while this rank was stopped, and it has only woken up to be ended.
    void tell(std::string_view state, std::int64_t update, std::string_view reason, int exit_code);
    std::string status_text() const; ///< nothing where there is none

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path config() const { return path_ / "config.toml"; }
    std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
    std::filesystem::path log() const { return path_ / "log.txt"; }
    std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
    std::filesystem::path traces() const { return path_ / "trace"; }
    std::filesystem::path status() const { return path_ / "status.json"; }
    /// Put there by people who want the run to save and stop.
    std::filesystem::path stop_file() const { return path_ / "STOP"; }

private:
    std::filesystem::path path_;
    std::string last_status_;
    int lock_ = -1;
};

} // namespace sluice
