#include "src/plan/checkpoint_space.hpp"

#include "core/durable_file.hpp"
#include "io/checkpoint.hpp"
#include "src/text/number_text.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace sluice {

namespace {

/// Checkpoint retention keeps these for rewinds: steps of half a reach, three reaches back.
constexpr std::int64_t most_rewind_targets = 8;

std::int64_t most_kept(const RunConfig& config)
{
    const CheckpointConfig& rules = config.checkpoint;
    const std::int64_t updates = config.run.updates;
    const bool goes_back = config.anomaly.reach_back() > 0; // and has one of update 0 then
    const std::int64_t saves =
        (rules.every_updates > 0 ? (updates - 1) / rules.every_updates + 1 : 1) + goes_back;
    if (rules.keep_last == 0)
        return saves;
    const std::int64_t kept = rules.keep_last + 1 // written before another one goes
                              + (rules.keep_every > 0 ? updates / rules.keep_every : 0) +
                              (goes_back ? most_rewind_targets : 0);
    return std::min(saves, kept);
}

} // namespace

CheckpointSpace plan_checkpoint_space(const RunConfig& config, const RunPlan& plan)
{
    CheckpointSpace space{.bytes_each = 0, .most_kept = most_kept(config)};
    for (int rank = 0; rank < plan.program.num_ranks(); ++rank)
        space.bytes_each +=
            snapshot_bytes(plan.rank_memory(rank).parameter_bytes, plan.stage.precision);
    return space;
}

std::string refuse_without_space(const CheckpointSpace& space,
                                 const std::filesystem::path& checkpoints)
{
    require_free_space(checkpoints, space.bytes_each);
    const auto free = free_space(checkpoints);
    const auto already_there =
        static_cast<std::uint64_t>(list_checkpoints(checkpoints).size()) * space.bytes_each;
    if (!free || *free >= space.most_bytes() - std::min(space.most_bytes(), already_there))
        return {};
    return fmt::format("the run will keep up to {} checkpoints of {} at once, and {} is free in "
                       "{}; checkpoint.keep_last and keep_every say how many stay",
                       space.most_kept, bytes_text(space.bytes_each), bytes_text(*free),
                       checkpoints.string());
}

} // namespace sluice
