#include "src/train/whole_checkpoint.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/checkpoint.hpp"
#include "src/text/first_lines.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// Damaged is what was read and is wrong. What may not be read would be passed over like that, and
/// the next save of its update would replace it.
void require_readable(const fs::path& checkpoint)
{
    std::error_code error;
    fs::path denied;
    for (fs::directory_iterator entry(checkpoint, error), end; !error && entry != end;
         entry.increment(error))
        if (::faccessat(AT_FDCWD, entry->path().c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES)
            denied = entry->path();
    if (error == std::errc::permission_denied)
        denied = checkpoint;
    if (!denied.empty())
        throw data_error("this checkpoint may not be read: Permission denied", denied.string(),
                         "start the run as the user who owns it, or change its permissions");
}

} // namespace

fs::path newest_whole_checkpoint(const fs::path& checkpoints, const std::function<void()>& on_block,
                                 std::int64_t most_update)
{
    auto folders = list_named_as_checkpoints(checkpoints);
    std::reverse(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
        if (update_of_checkpoint(folder) > most_update)
            continue;
        require_readable(folder);
        const auto problems = has_manifest(folder)
                                  ? problems_in_checkpoint(folder, on_block)
                                  : std::vector<std::string>{"manifest.json is missing"};
        if (problems.empty())
            return folder;
        log_warning("skipping damaged checkpoint " + folder.string() + ":" +
                    first_lines(problems, 5));
    }
    return {};
}

} // namespace sluice
