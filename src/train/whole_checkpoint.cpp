#include "src/train/whole_checkpoint.hpp"

#include "core/logging.hpp"
#include "io/checkpoint.hpp"
#include "src/text/first_lines.hpp"

#include <algorithm>

namespace sluice {

namespace fs = std::filesystem;

fs::path newest_whole_checkpoint(const fs::path& checkpoints, std::int64_t most_update)
{
    auto folders = list_checkpoints(checkpoints);
    std::reverse(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
        if (update_of_checkpoint(folder) > most_update)
            continue;
        const auto problems = problems_in_checkpoint(folder);
        if (problems.empty())
            return folder;
        log_warning("skipping damaged checkpoint " + folder.string() + ":" +
                    first_lines(problems, 5));
    }
    return {};
}

} // namespace sluice
