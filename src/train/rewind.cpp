#include "src/train/rewind.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/checkpoint.hpp"
#include "src/train/agreement.hpp"
#include "src/train/update_reduction.hpp"

#include <algorithm>

namespace sluice {

namespace fs = std::filesystem;

namespace {

bool is_whole(const fs::path& folder)
{
    const auto problems = problems_in_checkpoint(folder);
    if (!problems.empty())
        log_warning("not going back to the damaged checkpoint " + folder.string() + ": " +
                    problems.front());
    return problems.empty();
}

/// Empty where there is none.
std::string newest_whole(const fs::path& checkpoints, std::int64_t update)
{
    auto folders = list_checkpoints(checkpoints);
    std::reverse(folders.begin(), folders.end());
    for (const fs::path& folder : folders)
        if (update_of_checkpoint(folder) <= update && is_whole(folder))
            return folder.string();
    return {};
}

} // namespace

fs::path checkpoint_to_rewind_to(const fs::path& checkpoints, std::int64_t update,
                                 const std::string& why, Transport& transport)
{
    std::string found;
    on_rank_zero(transport, [&] { found = newest_whole(checkpoints, update); });
    found = transport.gather_text(found).front();
    if (found.empty())
        throw UpdateRefused(why + "; there is no whole checkpoint of update " +
                            std::to_string(update) +
                            " or before to go back to, as [anomaly] of the run file asks");
    return found;
}

} // namespace sluice
