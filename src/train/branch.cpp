#include "src/train/branch.hpp"

#include "core/error.hpp"
#include "src/text/first_lines.hpp"
#include "src/train/lr_schedule.hpp"
#include "src/train/resume.hpp"

#include <fmt/format.h>

namespace sluice {

namespace {

bool is_kept(const std::string& difference)
{
    return difference.starts_with("model.") || difference.starts_with("batch.") ||
           difference.starts_with("precision.");
}

/// Throws UserError (usage) where any of the differences is one that a branch keeps.
void refuse_kept(const CheckpointReader& trunk, const std::vector<std::string>& differences,
                 const RunConfig& saved, const RunConfig& config, const RunHardware& hardware)
{
    std::vector<std::string> kept;
    for (const std::string& difference : differences)
        if (is_kept(difference))
            kept.push_back(difference);
    if (kept.empty())
        return;
    const bool device_came_or_went = hardware.precision_was_auto && kept.size() == 1 &&
                                     saved.precision != config.precision &&
                                     saved.run.device != config.run.device;
    if (device_came_or_went)
        throw usage_error(device_changed(saved, config, hardware.why_on_cpus),
                          trunk.path().string(), device_remedy(saved));
    throw usage_error("a branch keeps the model, the batches and the precision of the run that it "
                      "leaves, and these differ:" +
                          first_lines(kept, 40),
                      trunk.path().string(),
                      "undo the change, or start a new run at its beginning");
}

void refuse_without_updates(const CheckpointReader& trunk, const RunConfig& config)
{
    if (config.run.updates > trunk.update())
        return;
    throw usage_error(
        fmt::format("the checkpoint is of update {0}, and run.updates = {1}, which "
                    "counts from the beginning of its run, leaves the branch nothing "
                    "to do",
                    trunk.update(), config.run.updates),
        trunk.path().string(),
        fmt::format("write run.updates = {} and the updates of the branch on top", trunk.update()));
}

/// "learning rate of update 21: 0.001 as it was, 0.0005 now"; empty where it goes on.
std::string changed_rate(std::int64_t update, const RunConfig& saved, const RunConfig& config)
{
    const auto next = [update](const RunConfig& of) {
        return update > of.run.updates
                   ? 0.0
                   : learning_rate(of.lr_schedule, of.optimizer.lr, of.run.updates, update);
    };
    if (next(saved) == next(config))
        return {};
    return fmt::format("learning rate of update {}: {:.6g} as it was, {:.6g} now", update + 1,
                       next(saved), next(config));
}

} // namespace

std::vector<std::string> leave_trunk(const CheckpointReader& trunk, const RunConfig& config,
                                     const RunHardware& hardware)
{
    RunConfig saved = saved_config(trunk);
    settle_precision(saved);
    std::vector<std::string> differences = differences_in_result(saved, config);
    refuse_kept(trunk, differences, saved, config, hardware);
    refuse_without_updates(trunk, config);
    for (std::string& difference : differences)
        if (difference.starts_with("data.train_checksum:")) // for people
            difference = "data.train: saved " + saved.data.train.string() + ", now other tokens, " +
                         config.data.train.string();
    if (const std::string rate = changed_rate(trunk.update(), saved, config); !rate.empty())
        differences.push_back(rate);
    return differences;
}

} // namespace sluice
