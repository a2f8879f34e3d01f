// What a run's checkpoints take on disk.
#pragma once

#include "src/plan/run_plan.hpp"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

namespace sluice {

struct CheckpointSpace {
    std::uint64_t bytes_each = 0; ///< all stages' weights and moments
    std::int64_t most_kept = 0;   ///< at once, the one that is being written among them

    std::uint64_t most_bytes() const ///< the largest number where there is none for it
    {
        std::uint64_t bytes = 0;
        return __builtin_mul_overflow(bytes_each, static_cast<std::uint64_t>(most_kept), &bytes)
                   ? std::numeric_limits<std::uint64_t>::max()
                   : bytes;
    }
};

/// `plan` must be of `config`. Where the run may go back from anomalies, a bound: what stays then
/// depends on when it saves.
CheckpointSpace plan_checkpoint_space(const RunConfig& config, const RunPlan& plan);

/// Throws UserError (data) where the next save would find no room below `checkpoints`. Returns a
/// warning where those that the run will keep do not fit, beside those that are there already; or
/// nothing, as for a file system that cannot say.
std::string refuse_without_space(const CheckpointSpace& space,
                                 const std::filesystem::path& checkpoints);

} // namespace sluice
