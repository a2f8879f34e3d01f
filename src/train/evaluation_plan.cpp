#include "src/train/evaluation_plan.hpp"

#include "core/error.hpp"
#include "src/plan/candidate.hpp"
#include "src/text/number_text.hpp"

#include <fmt/format.h>

namespace sluice {

namespace {

std::size_t bytes_of(const RunPlan& plan) { return total_bytes(plan.rank_memory(0)); }

/// Nothing where even one sequence is too much.
std::string smaller_batch_that_fits(RunConfig config, std::size_t num_bytes)
{
    while (config.batch.micro_batch_size > 1) {
        config.batch.micro_batch_size /= 2;
        const std::size_t bytes = bytes_of(plan_evaluation(config, 1));
        if (bytes <= num_bytes)
            return fmt::format("--batch-size {} would fit ({})", config.batch.micro_batch_size,
                               bytes_text(bytes));
    }
    return {};
}

} // namespace

RunPlan plan_evaluation(const RunConfig& config, std::int32_t num_microbatches)
{
    RunConfig alone = config;
    alone.pipeline = {};
    alone.batch.global_batch_size = config.batch.micro_batch_size;
    alone.checkpoint.asynchronous = Switch::off; // nothing is saved
    RunPlan plan = plan_run(alone, 1);
    plan.stage.passes = Passes::forward_only;
    plan.stage.graph_launches = 0; // one pass after the other: no time to bring graphs to the GPU
    plan.program = make_forward_only(plan.program.rank_of_chunk, 1, num_microbatches);
    plan.slots = forward_only_slots(plan.program);
    return plan;
}

void refuse_evaluation_unless_it_fits(const RunConfig& config, const RunPlan& plan,
                                      std::size_t num_bytes)
{
    const std::size_t bytes = bytes_of(plan);
    if (bytes <= num_bytes)
        return;
    const bool on_gpu = config.run.device == "cuda";
    std::string remedy = smaller_batch_that_fits(config, num_bytes);
    if (remedy.empty())
        remedy = fmt::format("not even one sequence at a time fits: take {} with more memory{}",
                             on_gpu ? "a GPU" : "a machine", on_gpu ? ", or --device cpu" : "");
    const StageMemory memory = plan.rank_memory(0);
    throw usage_error(
        fmt::format("the evaluation does not fit: it needs {}, and {} has {} (weights {}, "
                    "activations {}, scratch {}, program {})",
                    bytes_text(bytes), on_gpu ? "the GPU" : "this machine", bytes_text(num_bytes),
                    bytes_text(memory.parameter_bytes), bytes_text(memory.activation_bytes),
                    bytes_text(memory.scratch_bytes), bytes_text(bytes - memory.total_bytes())),
        fmt::format("{} sequences of {} tokens at once", config.batch.micro_batch_size,
                    config.batch.seq_len),
        remedy);
}

} // namespace sluice
