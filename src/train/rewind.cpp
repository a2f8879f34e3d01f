#include "src/train/rewind.hpp"

#include "pipeline/agreement.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/update_reduction.hpp"
#include "src/train/whole_checkpoint.hpp"

namespace sluice {

namespace fs = std::filesystem;

fs::path checkpoint_to_rewind_to(const fs::path& checkpoints, std::int64_t update,
                                 const std::string& why, Transport& transport)
{
    std::string found;
    on_rank_zero(transport, [&] {
        found = newest_whole_checkpoint(checkpoints, moved_on(transport), update).string();
    });
    found = text_of_rank_zero(transport, found);
    if (found.empty())
        throw UpdateRefused(why + "; there is no whole checkpoint of update " +
                            std::to_string(update) +
                            " or before to go back to, as [anomaly] of the run file asks");
    return found;
}

} // namespace sluice
