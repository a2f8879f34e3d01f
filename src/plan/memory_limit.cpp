#include "src/plan/memory_limit.hpp"

#include "core/error.hpp"
#include "src/config/layout.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/fitting_changes.hpp"
#include "src/text/number_text.hpp"

#include <fmt/format.h>
#include <string>

namespace sluice {

void settle_saves(RunConfig& config, RunPlan& plan, std::size_t host_bytes_per_rank)
{
    if (config.checkpoint.asynchronous != Switch::automatic)
        return;
    plan.stage.snapshot = true;
    plan.stage.snapshot = plan.stage.stream.device.kind == DeviceKind::cpu
                              ? peak_of(plan).bytes <= host_bytes_per_rank
                              : 2 * plan.largest_snapshot_bytes() <= host_bytes_per_rank;
    config.checkpoint.asynchronous = plan.stage.snapshot ? Switch::on : Switch::off;
}

void refuse_unless_it_fits(const RunConfig& config, const RunPlan& plan, std::size_t bytes_per_rank)
{
    const RankPeak peak = peak_of(plan);
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
        remedy =
            "no schedule, micro-batch size, recomputation or number of stages that was tried fits; "
            "make the "
            "model smaller or give each rank more memory (`sluice doctor` says what it may have)";
    throw usage_error(
        fmt::format(
            "the run does not fit: rank {} needs {}, and may have {} (weights {}, gradients "
            "{}, optimizer {}, activations {}, transfers {}, scratch {}, copy for saves {}, "
            "program "
            "{})",
            peak.rank, bytes_text(peak.bytes), bytes_text(bytes_per_rank),
            bytes_text(memory.parameter_bytes), bytes_text(memory.gradient_bytes),
            bytes_text(memory.optimizer_bytes), bytes_text(memory.activation_bytes),
            bytes_text(memory.transfer_bytes + memory.exchange_bytes),
            bytes_text(memory.scratch_bytes), bytes_text(memory.snapshot_bytes),
            bytes_text(total_bytes(memory) - memory.total_bytes())),
        layout_of_ranks(std::int64_t{num_ranks} * config.pipeline.replicas), remedy);
}

} // namespace sluice
