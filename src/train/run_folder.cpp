#include "src/train/run_folder.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/status_file.hpp"
#include "src/config/run_config.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace sluice {

namespace {

bool was_written_by_a_run(const std::filesystem::path& config)
{
    std::ifstream file(config);
    std::string heading;
    return std::getline(file, heading) && heading == resolved_toml_heading;
}

/// For what is not this run's: "config.toml.other", or with a number behind it.
std::string free_name_beside(const std::filesystem::path& file)
{
    std::error_code error;
    std::string other = file.string() + ".other";
    for (int number = 2; std::filesystem::exists(other, error); ++number)
        other = file.string() + ".other" + std::to_string(number);
    return other;
}

} // namespace

void RunFolder::create_and_lock()
{
    create_folders();
    if (!lock(std::chrono::seconds(5)))
        throw usage_error("another run (" + lock_.holder() + ") is writing into this run folder",
                          path_.string(),
                          "wait until it has ended, make it save and stop with `touch " +
                              stop_file().string() + "`, or choose another folder with --run-dir");
    if (const std::string& why = lock_.why_it_guards_nothing(); !why.empty())
        log_warning(path_.string() +
                    " cannot be locked, so nothing keeps a second run out of it: " + why);
    // Not before: the run that had it until now may have written it on its way out.
    last_status_ = status_text();
}

void RunFolder::create_folders() const
{
    std::error_code error;
    std::vector<std::filesystem::path> new_ones;
    for (auto folder = std::filesystem::absolute(checkpoints());
         !std::filesystem::exists(folder, error) && folder.has_relative_path();
         folder = folder.parent_path())
        new_ones.push_back(folder);
    for (const auto& folder : new_ones)
        if (std::filesystem::is_symlink(std::filesystem::symlink_status(folder, error)))
            throw data_error("this is a symbolic link that leads to nothing", folder.string(),
                             "create the folder it should lead to (see `readlink`), remove the "
                             "link, or choose another folder with --run-dir");
    std::filesystem::create_directories(checkpoints(), error);
    if (error)
        throw data_error("cannot use or create the run folder: " + error.message(), path_.string(),
                         "choose a folder you can write with --run-dir");
    for (const auto& folder : new_ones) {
        try {
            fsync_folder(folder.parent_path()); // or the run could be gone after a power failure
        } catch (const UserError&) {
            // Above the run's own folders there may be some that can be written, but not read.
        }
    }
}

bool RunFolder::lock(std::chrono::milliseconds patience)
{
    try {
        return lock_.take(patience);
    } catch (const UserError& error) {
        throw data_error("cannot lock the run folder: " + error.problem(), error.where(),
                         "see whose it is and who may write there (ls -la), or choose another "
                         "folder with --run-dir");
    }
}

std::string RunFolder::keep_lock()
{
    if (lock_.is_in_place()) {
        told_of_lock_ = false;
        return {};
    }
    const std::string trouble = lock_again();
    if (trouble.empty())
        return "somebody has deleted the lock of the run folder; it is locked again";
    return std::exchange(told_of_lock_, true) ? "" : trouble;
}

/// Why that cannot be done now; empty where it is done.
std::string RunFolder::lock_again()
{
    std::error_code error;
    if (!std::filesystem::is_directory(path_, error))
        return path_.string() + ": the run folder is gone; put it back before the next save";
    refuse_where_taken(); // before the lock gets another name
    bool is_ours = false;
    try {
        is_ours = lock();
    } catch (const UserError& refused) { // of a full disk, say
        return refused.where() + ": " + refused.problem();
    }
    refuse_where_taken();
    // `sluice checkpoint prune`, which is soon done, or a run that begins, which will speak.
    return is_ours ? "" : path_.string() + ": " + lock_.holder() + " has locked the run folder";
}

/// By what status.json says. What people do to that file is no other run's word.
void RunFolder::refuse_where_taken()
{
    const auto there = nlohmann::json::parse(status_text(), nullptr, false);
    if (there.is_discarded() || there == nlohmann::json::parse(last_status_, nullptr, false))
        return;
    taken_ = true;
    throw data_error("another run has this run folder since its lock was deleted, or since the "
                     "folder of this run was moved away",
                     path_.string(),
                     "let that run go on; what this one has saved lies where its checkpoints are");
}

void RunFolder::set_metrics_aside() const
{
    const std::string other = free_name_beside(metrics());
    rename_durably(metrics(), other);
    log_warning("metrics.jsonl tells of another history, whose checkpoints are gone; it is now " +
                other);
}

void RunFolder::write_config(std::string_view resolved) const
{
    std::error_code error;
    if (std::filesystem::is_regular_file(config(), error) && !was_written_by_a_run(config())) {
        const std::string other = free_name_beside(config());
        write_file_durably(other, read_file(config()));
        log_warning("the run folder had a config.toml that no run has written; it is now " + other);
    }
    write_file_durably(config(), resolved);
}

std::string RunFolder::status_text() const
{
    try {
        return read_file(status(), most_status_bytes);
    } catch (const UserError&) {
        return "";
    }
}

void RunFolder::tell_ended_without_a_word(std::string_view reason) const
{
    try {
        if (const auto now = read_status(status()); now && now->state == "running") {
            write_status(status(), "failed", now->update, reason, static_cast<int>(ExitCode::peer));
            log_last_words(log(), reason);
        }
    } catch (const UserError&) {
        // What is said on standard error is left.
    }
}

void RunFolder::tell(std::string_view state, std::int64_t update, std::string_view reason,
                     int exit_code)
{
    if (status_text() != last_status_)
        if (const auto now = read_status(status()); now && now->state == "failed")
            return;
    write_status(status(), state, update, reason, exit_code);
    last_status_ = status_text();
}

bool is_config_of_a_run(const std::filesystem::path& run_file)
{
    std::error_code error;
    const RunFolder folder(run_file.parent_path());
    // Edited or not; checkpoints may be on a file system that is not mounted.
    return run_file.filename() == folder.config().filename() &&
           (std::filesystem::exists(folder.metrics(), error) ||
            std::filesystem::exists(folder.status(), error));
}

std::filesystem::path run_dir_of(const std::string& run_file, const std::string& run_dir)
{
    if (!run_dir.empty())
        return run_dir;
    if (is_config_of_a_run(run_file)) {
        const auto folder = std::filesystem::path(run_file).parent_path();
        return folder.empty() ? "." : folder;
    }
    return std::filesystem::path("runs") / std::filesystem::path(run_file).stem();
}

} // namespace sluice
