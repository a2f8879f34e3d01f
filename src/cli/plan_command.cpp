// sluice plan: what a run would look like, without MPI and without allocating the model.

#include "core/error.hpp"
#include "pipeline/simulator.hpp"
#include "src/cli/commands.hpp"
#include "src/train/process_memory.hpp"
#include "src/train/run_plan.hpp"
#include "src/train/training_progress.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fstream>
#include <iostream>

namespace sluice {

namespace {

struct PlanOptions {
    std::string run_file;
    std::vector<std::string> overrides;
    int num_stages = 1;
    bool print_schedule = false;
};

std::string text_of(const LayerRange& range)
{
    const std::string layers =
        range.num_layers() > 0 ? fmt::format("{}..{}", range.begin, range.end - 1) : "";
    return fmt::format("{}{}{}", range.embedding ? "e+" : "", layers,
                       range.head ? (layers.empty() ? "h" : "+h") : "");
}

void print_stages(const RunPlan& plan, const Simulation& simulation)
{
    fmt::print("\n{:>4}  {:<20} {:>6}  {:>8} {:>8} {:>8} {:>11} {:>8} {:>5}\n", "rank", "layers",
               "cost", "weights", "grads", "moments", "activations", "total", "idle");
    for (int rank = 0; rank < plan.program.num_ranks(); ++rank) {
        std::string layers;
        double cost = 0.0;
        for (std::int32_t chunk = 0; chunk < plan.program.num_chunks; ++chunk)
            if (plan.program.rank_of_chunk[chunk] == rank) {
                layers += (layers.empty() ? "" : " ") + text_of(plan.partition[chunk]);
                cost += cost_of(plan.partition[chunk], plan.costs) / plan.costs.decoder_layer;
            }
        const StageMemory memory = plan.rank_memory(rank);
        const auto mib = [](std::size_t bytes) {
            return fmt::format("{:.0f} M", static_cast<double>(bytes) / 1048576.0);
        };
        fmt::print("{:>4}  {:<20} {:>6.2f}  {:>8} {:>8} {:>8} {:>11} {:>8} {:>4.0f}%\n", rank,
                   layers, cost, mib(memory.parameter_bytes), mib(memory.gradient_bytes),
                   mib(memory.optimizer_bytes),
                   mib(memory.activation_bytes + memory.transfer_bytes + memory.scratch_bytes),
                   mib(memory.total_bytes()),
                   100.0 * simulation.idle[static_cast<std::size_t>(rank)] / simulation.total);
    }
}

int plan(const PlanOptions& options)
{
    const RunConfig config = load_run_config(options.run_file, options.overrides);
    const RunPlan plan = plan_run(config, options.num_stages);
    if (options.print_schedule) {
        std::cout << text_of(plan.program);
        return 0;
    }
    const Simulation simulation = simulate(plan.program, unit_costs(plan.partition, plan.costs));
    const double tokens = static_cast<double>(config.batch.tokens_per_update());
    fmt::print("{} parameters, {} layers on {} stage(s), {} micro-batches of {} x {} tokens\n",
               count_text(static_cast<double>(num_parameters(config.model))),
               config.model.num_layers, options.num_stages, config.batch.num_microbatches(),
               config.batch.micro_batch_size, config.batch.seq_len);
    fmt::print(
        "{:.3f} GFLOP per token, {:.4g} TFLOP per update (forward and backward, 6 N + 6 L d s)\n",
        flops_per_token(config.model, config.batch.seq_len) * 1e-9,
        flops_per_token(config.model, config.batch.seq_len) * tokens * 1e-12);
    print_stages(plan, simulation);
    double busy = 0.0;
    for (const double idle : simulation.idle)
        busy += simulation.total - idle;
    fmt::print("\nbalance of the partition {:.0f}%, share of time computing {:.0f}% (transfers not "
               "counted)\n",
               100.0 * partition_efficiency(plan.partition, plan.program.rank_of_chunk, plan.costs),
               100.0 * busy / (simulation.total * options.num_stages));
    fmt::print(
        "cost: in decoder layers; e: embedding, h: final norm and head; each rank takes about {} "
        "MiB more for the program itself\n",
        program_bytes >> 20);
    return 0;
}

} // namespace

void add_plan_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<PlanOptions>();
    CLI::App* command = app.add_subcommand(
        "plan", "Partition, memory and idle time of a run; needs neither MPI nor memory");
    command->add_option("RUN.toml", options->run_file, "Run file")->required();
    command->add_option("--set", options->overrides, "Override one key: section.key=value")
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
    command->add_option("--stages,-n", options->num_stages, "Number of stages")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    command->add_flag("--print-schedule", options->print_schedule,
                      "Print every rank's actions instead, sends and receives included");
    command->callback([&chosen, options] { chosen = [options] { return plan(*options); }; });
}

} // namespace sluice
