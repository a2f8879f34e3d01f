#include "src/plan/memory_limit.hpp"

#include "core/error.hpp"
#include "src/config/layout.hpp"
#include "src/plan/candidate.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <optional>

namespace sluice {

namespace {

struct Peak {
    std::size_t bytes = 0;
    int rank = 0;
};

Peak peak_of(const RunPlan& plan)
{
    Peak peak;
    for (int rank = 0; rank < plan.program.num_ranks(); ++rank)
        if (const std::size_t bytes = total_bytes(plan.rank_memory(rank)); bytes > peak.bytes)
            peak = {bytes, rank};
    return peak;
}

std::optional<std::size_t> peak_if_possible(const RunConfig& config, int num_ranks)
{
    try {
        return peak_of(plan_run(config, num_ranks)).bytes;
    } catch (const UserError&) {
        return std::nullopt; // more chunks than layers
    }
}

std::optional<FittingChange> more_recomputation(const RunConfig& config, int num_ranks,
                                                std::size_t bytes_per_rank)
{
    RunConfig with = config;
    for (const Recompute recompute : {Recompute::lean, Recompute::full}) {
        with.pipeline.recompute = recompute;
        const auto peak = peak_if_possible(with, num_ranks);
        if (recompute > config.pipeline.recompute && peak && *peak <= bytes_per_rank)
            return FittingChange{as_overrides(with.pipeline, config.pipeline), *peak, false};
    }
    return std::nullopt;
}

/// The schedule that needs least memory, if it fits; computing everything again only if it must.
std::optional<FittingChange> another_schedule(const RunConfig& config, int num_ranks,
                                              std::size_t bytes_per_rank)
{
    std::optional<FittingChange> best;
    for (const Recompute recompute : {config.pipeline.recompute, Recompute::full}) {
        for (const PipelineConfig& layout : possible_layouts(config, num_ranks)) {
            RunConfig with = config;
            with.pipeline = layout;
            with.pipeline.recompute = recompute;
            const auto peak = peak_if_possible(with, num_ranks);
            if (peak && *peak <= bytes_per_rank && (!best || *peak < best->peak_bytes))
                best = {as_overrides(with.pipeline, config.pipeline), *peak, false};
        }
        if (best)
            break;
    }
    return best;
}

std::optional<FittingChange> smaller_micro_batches(const RunConfig& config, int num_ranks,
                                                   std::size_t bytes_per_rank)
{
    for (std::int64_t size = config.batch.micro_batch_size - 1; size >= 1; --size) {
        if (config.batch.global_batch_size % size != 0)
            continue;
        RunConfig with = config;
        with.batch.micro_batch_size = size;
        const auto peak = peak_if_possible(with, num_ranks);
        if (peak && *peak <= bytes_per_rank)
            return FittingChange{fmt::format("--set batch.micro_batch_size={}", size), *peak, true};
    }
    return std::nullopt;
}

std::optional<FittingChange> more_stages(const RunConfig& config, int num_ranks,
                                         std::size_t bytes_per_rank)
{
    if (config.pipeline.partition != "auto")
        return std::nullopt;
    for (int ranks = 2 * num_ranks; ranks <= config.model.num_layers; ranks *= 2)
        if (const auto peak = peak_if_possible(config, ranks); peak && *peak <= bytes_per_rank)
            return FittingChange{fmt::format("{} ranks", ranks), *peak, false};
    return std::nullopt;
}

} // namespace

std::size_t bytes_from(const std::string& text, const std::string& where)
{
    double number = 0.0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    std::string unit(rest, text.data() + text.size());
    std::erase(unit, ' ');
    std::transform(unit.begin(), unit.end(), unit.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    double factor = 0.0;
    const std::string prefixes = "kmgt";
    if (unit.empty() || unit == "b")
        factor = 1.0;
    else if (const std::size_t power = prefixes.find(unit[0]); power != std::string::npos) {
        const std::string suffix = unit.substr(1);
        const double thousands = static_cast<double>(power + 1);
        if (suffix.empty() || suffix == "b")
            factor = std::pow(1000.0, thousands);
        else if (suffix == "i" || suffix == "ib")
            factor = std::pow(1024.0, thousands);
    }
    if (error != std::errc() || factor == 0.0 ||
        !(number * factor >= 1.0 && number * factor <= 1e18))
        throw usage_error("'" + text + "' is not an amount of memory", where,
                          "write a number with its unit, like 80GB or 512MiB");
    return static_cast<std::size_t>(number * factor);
}

std::string bytes_text(std::size_t bytes)
{
    const auto size = static_cast<double>(bytes);
    const auto [unit, name] = size >= 0.9995e9   ? std::pair(1e9, "GB")
                              : size >= 0.9995e6 ? std::pair(1e6, "MB")
                                                 : std::pair(1e3, "kB");
    const double value = size / unit;
    return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, name);
}

std::vector<FittingChange> changes_that_fit(const RunConfig& config, int num_ranks,
                                            std::size_t bytes_per_rank)
{
    std::vector<FittingChange> changes;
    for (const auto& find :
         {more_recomputation, another_schedule, smaller_micro_batches, more_stages})
        if (const auto change = find(config, num_ranks, bytes_per_rank))
            changes.push_back(*change);
    return changes;
}

void refuse_unless_it_fits(const RunConfig& config, const RunPlan& plan, std::size_t bytes_per_rank)
{
    const Peak peak = peak_of(plan);
    if (peak.bytes <= bytes_per_rank)
        return;
    const int num_ranks = plan.program.num_ranks();
    const StageMemory memory = plan.rank_memory(peak.rank);
    std::string remedy;
    for (const FittingChange& change : changes_that_fit(config, num_ranks, bytes_per_rank))
        remedy += fmt::format("{}{} ({}{})", remedy.empty() ? "what would fit: " : "; or ",
                              change.overrides, bytes_text(change.peak_bytes),
                              change.changes_result ? ", changes rounding" : "");
    if (remedy.empty())
        remedy = "no schedule, micro-batch size or number of stages fits; make the model smaller "
                 "or give each rank more memory";
    throw usage_error(
        fmt::format(
            "the run does not fit: rank {} needs {}, and may have {} (weights {}, gradients "
            "{}, moments {}, activations {}, transfers {}, scratch {}, program {})",
            peak.rank, bytes_text(peak.bytes), bytes_text(bytes_per_rank),
            bytes_text(memory.parameter_bytes), bytes_text(memory.gradient_bytes),
            bytes_text(memory.optimizer_bytes), bytes_text(memory.activation_bytes),
            bytes_text(memory.transfer_bytes + memory.exchange_bytes),
            bytes_text(memory.scratch_bytes),
            bytes_text(total_bytes(memory) - memory.total_bytes())),
        fmt::format("layout of {} rank{}", num_ranks, num_ranks == 1 ? "" : "s"), remedy);
}

} // namespace sluice
