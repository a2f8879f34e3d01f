#include "src/config/run_config.hpp"

#include "core/error.hpp"
#include "src/config/presets.hpp"
#include "src/config/run_file.hpp"
#include "src/config/run_key.hpp"
#include "src/config/validation.hpp"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

namespace sluice {

namespace {

constexpr std::size_t most_run_file_bytes = std::size_t{1} << 20;

/// T and T L are two ways to say one thing. A --set replaces what the file says; both in one place
/// contradict each other.
void choose_one_warmup(RunFile& file)
{
    const auto first = file.values.find("prores.warmup_steps");
    const auto total = file.values.find("prores.total_warmup_steps");
    if (first == file.values.end() || total == file.values.end())
        return;
    if (first->second.from_override == total->second.from_override)
        throw usage_error("prores.warmup_steps (T, of the first layer) is given, too: both say the "
                          "same thing",
                          total->second.where, "keep one of the two");
    file.values.erase(first->second.from_override ? total : first);
}

void apply_values(RunConfig& config, const RunFile& file)
{
    // The preset first: every other key overrides what it sets.
    if (const auto preset = file.values.find("model.preset"); preset != file.values.end()) {
        find_run_key("model", "preset")->set(config, preset->second);
        if (const Preset* found = find_preset(config.preset))
            apply_preset(config, *found);
    }
    for (const RunKey& key : run_keys())
        if (const auto value = file.values.find(key.full_name()); value != file.values.end())
            key.set(config, value->second);
    if (!file.has("optimizer.lr"))
        config.optimizer.lr = default_learning_rate(config);
    config.lr_schedule.warmup_is_default = !file.has("lr_schedule.warmup_steps");
    if (config.lr_schedule.warmup_is_default)
        config.lr_schedule.warmup_steps = default_lr_warmup_steps(config);
    settle_warmup_steps(config, file);
}

} // namespace

std::int64_t num_decay_updates(const LearningRateConfig& config, std::int64_t updates)
{
    switch (config.kind) {
    case LearningRateKind::wsd:
        return std::llround(config.decay_fraction * static_cast<double>(updates));
    case LearningRateKind::cosine:
    case LearningRateKind::linear: return updates - config.warmup_steps;
    case LearningRateKind::constant: break;
    }
    return 0;
}

void settle_precision(RunConfig& config)
{
    if (config.precision == ComputePrecision::automatic)
        config.precision =
            config.run.device == "cuda" ? ComputePrecision::bf16 : ComputePrecision::fp32;
}

Precision element_types(const RunConfig& config)
{
    RunConfig settled = config;
    settle_precision(settled);
    switch (settled.precision) {
    case ComputePrecision::fp32: return fp32_precision;
    case ComputePrecision::fp64: return fp64_precision;
    case ComputePrecision::bf16: return bf16_precision;
    case ComputePrecision::pure_bf16: return pure_bf16_precision;
    case ComputePrecision::automatic: break;
    }
    SLUICE_CHECK(false, "precision " << static_cast<int>(settled.precision));
    return {};
}

bool captures_graphs(const RunConfig& config)
{
    if (config.run.device != "cuda" || config.pipeline.graphs == Switch::off)
        return false;
    if (config.pipeline.graphs == Switch::on)
        return true;
    // A layer's forward pass is nine launches, most of their time products of matrices. A launch
    // costs the host about 5 us at best, and the host has other things to do; a GPU of today does
    // 4e14 FLOPs a second.
    constexpr double num_launches = 9.0, flops_per_second = 4e14, small_seconds = 20e-6;
    const auto tokens = static_cast<double>(config.batch.micro_batch_size * config.batch.seq_len);
    const double flops = tokens * token_flops(config.model, config.batch.seq_len).layer_matrices;
    return flops / flops_per_second / num_launches < small_seconds;
}

RunConfig parse_run_config(std::string_view text, const std::string& source,
                           const std::filesystem::path& base,
                           const std::vector<std::string>& overrides)
{
    if (text.size() > most_run_file_bytes)
        throw usage_error("the run file has more than " + std::to_string(most_run_file_bytes) +
                              " bytes",
                          source, "name a run file, like recipes/demo.toml");
    RunFile file = read_run_file(text, source, base, overrides);
    choose_one_warmup(file);
    RunConfig config;
    apply_values(config, file);
    validate(config, file);
    return config;
}

void refuse_pipe(const std::filesystem::path& path)
{
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (std::filesystem::is_fifo(status) || std::filesystem::is_socket(status) ||
        std::filesystem::is_character_file(status))
        throw usage_error("a pipe gives the run file once, and every rank reads it", path.string(),
                          "save it as a file, and name that");
}

RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides)
{
    std::error_code error;
    if (std::filesystem::is_directory(path, error))
        throw usage_error("the run file is a folder", path.string(),
                          "name a file, like recipes/demo.toml");
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    const int reason = errno != 0 ? errno : EIO;
    std::string text(most_run_file_bytes + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount())); // one byte too many is refused below
    if (!stream.is_open() || stream.bad())
        throw usage_error(std::string("cannot read the run file: ") + std::strerror(reason),
                          path.string(), "name a readable file, like recipes/demo.toml");
    return parse_run_config(
        text, path.string(),
        path.has_parent_path() ? path.parent_path() : std::filesystem::path("."), overrides);
}

} // namespace sluice
