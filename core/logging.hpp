// What people read while a run goes on: spdlog behind a few calls, so that few files include it.
#pragma once

#include <filesystem>
#include <string_view>

namespace sluice {

/// Messages go to standard error; on ranks other than 0 only errors do, prefixed by the rank.
void start_logging(int rank, int num_ranks);
/// From now on messages are also appended to `path` (rank 0). The first such file also gets what
/// was said since the program's start, up to 256 messages. Throws UserError (data).
void log_to_file(const std::filesystem::path& path);

/// Adds an error, in one line and without what to do, to the log file at `path` where there is one,
/// and says it nowhere else: the last words of a run, by whichever of its processes is left. Errors
/// are ignored.
void log_last_words(const std::filesystem::path& path, std::string_view message);

void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_error(std::string_view message);

} // namespace sluice
