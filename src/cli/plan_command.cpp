// sluice plan: what a run would look like, without MPI and without allocating the model.

#include "core/cores.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/parallel.hpp"
#include "pipeline/timeline/timeline_svg.hpp"
#include "pipeline/timeline/timeline_text.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/repeated_option.hpp"
#include "src/config/layout.hpp"
#include "src/plan/cost_file.hpp"
#include "src/plan/gates_within_run.hpp"
#include "src/plan/memory_amount.hpp"
#include "src/plan/memory_limit.hpp"
#include "src/plan/plan_against.hpp"
#include "src/plan/plan_report.hpp"
#include "src/train/measure_costs.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>

namespace sluice {

namespace {

struct PlanOptions {
    std::string run_file;
    std::vector<std::string> overrides;
    int num_stages = 1;
    std::string memory, costs, save_costs, svg, against;
    bool compare = false, timeline = false, print_schedule = false, json = false;
};

/// Comparing takes a moment for each schedule; up to this many stages x micro-batches it is asked
/// for by nobody and still there.
constexpr std::int64_t always_compared = 8'192;

int threads_per_rank(const RunConfig& config, int num_ranks)
{
    return config.run.threads_per_rank > 0 ? config.run.threads_per_rank
                                           : std::max(1, num_own_cores() / num_ranks);
}

CostModel costs_for(const RunConfig& config, const PlanOptions& options)
{
    const CostConditions conditions = conditions_of(config);
    if (options.costs.empty() && !options.save_costs.empty())
        throw usage_error("--save-costs has nothing to save", "command line",
                          "add --costs measure");
    if (options.costs.empty())
        return costs_from_flops(conditions.model, conditions.micro_batch, assumed_rates(config));
    if (options.costs != "measure" && !options.save_costs.empty())
        throw usage_error("--save-costs keeps what --costs measure finds, not another file",
                          "command line", "add --costs measure, or copy the file");
    if (options.costs != "measure")
        return read_cost_file(options.costs, conditions);
    set_num_threads(threads_per_rank(config, options.num_stages));
    const CostModel costs = measure_costs(config);
    if (!options.save_costs.empty())
        write_cost_file(options.save_costs, costs, conditions);
    return costs;
}

/// "auto" as what these costs and this memory recommend.
void choose_schedule(RunConfig& config, const std::vector<Candidate>& candidates,
                     const PlanOptions& options, std::size_t bytes_per_rank)
{
    if (config.pipeline.schedule != PipelineScheduleKind::automatic)
        return;
    const Candidate* best = recommended(candidates, bytes_per_rank);
    if (best == nullptr) { // says why
        config = resolve_auto(config, options.num_stages, bytes_per_rank);
        return;
    }
    warn_of_what_auto_chooses(config.pipeline);
    config.pipeline = best->layout;
}

void draw(const RunPlan& plan, const CostModel& costs, const PlanOptions& options,
          const PipelineConfig& layout)
{
    if (!options.timeline && options.svg.empty())
        return;
    const Simulation simulation = simulate(plan.program, costs_of_chunks(plan, costs));
    if (options.timeline)
        std::cout << "\n" << timeline_text(plan.program, simulation);
    if (!options.svg.empty())
        write_file_durably(
            options.svg, timeline_svg(plan.program, simulation,
                                      {.title = fmt::format(
                                           "{}, {} ranks, {} micro-batches", layout_name(layout),
                                           plan.program.num_ranks(), plan.program.num_microbatches),
                                       .width = 1200}));
}

int plan(const PlanOptions& options)
{
    for (const std::string* out : {&options.svg, &options.save_costs})
        if (!out->empty())
            replaceable_file(*out); // refused before the work
    const std::size_t bytes_per_rank =
        options.memory.empty() ? unlimited_bytes : bytes_from(options.memory, "--memory");
    RunConfig asked = load_run_config(options.run_file, options.overrides);
    if (bytes_per_rank == unlimited_bytes && asked.checkpoint.asynchronous == Switch::automatic)
        asked.checkpoint.asynchronous = Switch::on; // in all that are compared
    check_layout(asked, std::int64_t{options.num_stages} * asked.pipeline.replicas,
                 {.name = "--stages", .ranks_each = asked.pipeline.replicas});
    if (const std::string warning = gates_that_stay_behind(asked); !warning.empty())
        log_warning(warning);
    RunConfig config = asked;
    const bool automatic = asked.pipeline.schedule == PipelineScheduleKind::automatic;
    if (options.print_schedule && !automatic) {
        std::cout << text_of(plan_run(config, options.num_stages).program);
        return 0;
    }
    const CostModel costs = costs_for(config, options);
    std::vector<Candidate> candidates;
    if (options.compare || automatic ||
        (options.against.empty() &&
         config.batch.num_microbatches() * options.num_stages <= always_compared))
        candidates = price_all(asked, options.num_stages, costs, bytes_per_rank);
    choose_schedule(config, candidates, options, bytes_per_rank);
    RunPlan plan = plan_run(config, options.num_stages);
    settle_saves(config, plan, bytes_per_rank);
    if (options.print_schedule) {
        std::cout << text_of(plan.program);
        return 0;
    }
    const Candidate candidate = price(config, plan, costs);
    const PricedPlan priced{config, plan, costs, candidate};
    if (!options.against.empty()) {
        std::cout << heading_text(priced) << "\n"
                  << against_text(priced, read_measured_run(options.against));
        return 0;
    }
    if (options.json) {
        std::cout << plan_json(priced, candidates, bytes_per_rank);
    } else {
        std::cout << heading_text(priced) << "\n"
                  << ranks_text(priced) << "\n"
                  << time_text(priced);
        if (options.compare)
            std::cout << "\n" << comparison_text(candidates, bytes_per_rank);
        if (!candidates.empty())
            std::cout << "\n" << recommendation_text(candidates, asked, bytes_per_rank);
    }
    draw(plan, costs, options, config.pipeline);
    std::cout.flush();
    refuse_unless_it_fits(config, plan, bytes_per_rank);
    return 0;
}

} // namespace

void add_plan_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<PlanOptions>();
    CLI::App* command = app.add_subcommand(
        "plan", "Partition, memory, time and idle time of a run; needs neither MPI nor memory");
    command->add_option("RUN.toml", options->run_file, "Run file")->required();
    add_set_option(*command, options->overrides);
    command
        ->add_option("--stages,-n", options->num_stages,
                     "Number of ranks of one replica of the pipeline")
        ->check(CLI::Range(std::int64_t{1}, most_ranks))
        ->capture_default_str();
    command
        ->add_option("--memory", options->memory,
                     "Memory per rank, as in 80GB or 512MiB; a run that needs more is refused "
                     "[no limit]")
        ->check([](const std::string& text) {
            return text.empty() ? "'' is not an amount of memory" : std::string();
        });
    command->add_option("--costs", options->costs,
                        "What layers take: a costs file (docs/planner.md), or `measure` to run a "
                        "few here [from FLOPs]");
    command->add_option("--save-costs", options->save_costs, "Where --costs measure is kept");
    command->add_flag("--compare", options->compare, "Compare all schedules");
    command->add_option("--svg", options->svg, "Draw the timeline into this SVG file");
    command->add_flag("--timeline", options->timeline, "Draw the timeline as text");
    command->add_flag("--json", options->json, "Print everything as JSON")->excludes("--timeline");
    CLI::Option* const actions =
        command->add_flag("--print-schedule", options->print_schedule,
                          "Print every rank's actions instead, sends and receives included");
    for (const char* other : {"--json", "--svg", "--timeline", "--compare", "--save-costs"})
        actions->excludes(other);
    CLI::Option* const against = command->add_option(
        "--against", options->against,
        "Lay the plan beside the trace in this run folder and say where they part");
    for (const char* other : {"--json", "--svg", "--timeline", "--compare", "--print-schedule"})
        against->excludes(other); // it prints one table, and nothing else
    command->callback([&chosen, options] { chosen = [options] { return plan(*options); }; });
}

} // namespace sluice
