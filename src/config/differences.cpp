#include "src/config/run_config.hpp"
#include "src/config/run_key.hpp"

namespace sluice {

namespace {

/// Only the constant schedule does the same for any length of the run.
bool length_matters(const RunConfig& config)
{
    return config.lr_schedule.kind != LearningRateKind::constant;
}

/// Where both runs know the checksum of their tokens, the file's place does not matter; the
/// checksum matters only then.
bool compares_checksums(const RunConfig& saved, const RunConfig& now)
{
    return !saved.data.train_checksum.empty() && !now.data.train_checksum.empty();
}

std::string text_of(const RunKey& key, const RunConfig& config)
{
    // Runs that have begun know which processor it became; until there were GPUs it was the CPU.
    if (key.full_name() == "run.device" && config.run.device == "auto")
        return toml_text(std::string("cpu"));
    return toml_text(key.get(config));
}

std::vector<std::string> differences_in(KeyEffect effect, RunConfig saved, RunConfig now)
{
    settle_precision(saved);
    settle_precision(now);
    std::vector<std::string> differences;
    for (const RunKey& key : run_keys()) {
        if (key.effect != effect || !key.get)
            continue;
        const std::string name = key.full_name();
        if ((name == "run.updates" && !length_matters(saved) && !length_matters(now)) ||
            (name == "data.train" && compares_checksums(saved, now)) ||
            (name == "data.train_checksum" && !compares_checksums(saved, now)))
            continue;
        const std::string before = text_of(key, saved), after = text_of(key, now);
        if (before != after)
            differences.push_back(name + ": saved " + before + ", now " + after);
    }
    return differences;
}

} // namespace

std::vector<std::string> differences_in_result(const RunConfig& saved, const RunConfig& now)
{
    return differences_in(KeyEffect::result, saved, now);
}

std::vector<std::string> differences_in_rounding(const RunConfig& saved, const RunConfig& now)
{
    return differences_in(KeyEffect::rounding, saved, now);
}

} // namespace sluice
