#include "src/train/whole_checkpoint.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/checkpoint.hpp"
#include "src/text/first_lines.hpp"

#include <algorithm>

namespace sluice {

namespace fs = std::filesystem;

std::vector<std::string> problems_of(const fs::path& checkpoint)
{
    try {
        return CheckpointReader(checkpoint).verify();
    } catch (const UserError& error) {
        return {error.where() + ": " + error.problem()};
    }
}

fs::path newest_whole_checkpoint(const fs::path& checkpoints, std::int64_t most_update)
{
    auto folders = list_checkpoints(checkpoints);
    std::reverse(folders.begin(), folders.end());
    for (const fs::path& folder : folders) {
        if (update_of_checkpoint(folder) > most_update)
            continue;
        const auto problems = problems_of(folder);
        if (problems.empty())
            return folder;
        log_warning("skipping damaged checkpoint " + folder.string() + ":" +
                    first_lines(problems, 5));
    }
    return {};
}

} // namespace sluice
