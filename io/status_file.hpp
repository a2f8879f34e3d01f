// status.json, what the run last said of itself:
// {"state":state,"update":N,"reason":reason,"exit_code":C,"time":"2026-01-31T23:59:59Z"}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// Replaced durably; where that cannot be, as on a disk that is full, written over in place, so
/// that a run whose end that was does not count as running. Throws UserError (data).
void write_status(const std::filesystem::path& path, std::string_view state, std::int64_t update,
                  std::string_view reason, int exit_code);

/// Of a status.json that is one: its reason is the longest part, what a few ranks have to say.
inline constexpr std::size_t most_status_bytes = 1 << 20;

struct RunStatus {
    std::string state; ///< "running", "finished", "stopped", "failed"
    std::int64_t update = 0;
    std::string reason;
    int exit_code = 0;
};
/// Nothing where the text is no status.
std::optional<RunStatus> status_in(std::string_view text);
/// Nothing where there is no status, or none that can be read.
std::optional<RunStatus> read_status(const std::filesystem::path& path);

} // namespace sluice
