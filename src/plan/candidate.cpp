#include "src/plan/candidate.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "src/config/layout.hpp"
#include "src/config/run_key.hpp"
#include "src/plan/memory_limit.hpp"
#include "src/process/process_memory.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>

namespace sluice {

namespace {

/// Beyond this many actions sends and receives are left out: the times are those of receives posted
/// early enough, from half as many actions.
constexpr std::size_t most_simulated_actions = 4'000'000;

/// More chunks mean more messages and hardly less idle time.
constexpr std::int32_t most_chunks_per_rank = 16;

Schedule without_communication(const Schedule& program)
{
    Schedule schedule = program;
    for (auto& actions : schedule.actions)
        std::erase_if(actions, [](const Action& action) { return is_message(action.kind); });
    return schedule;
}

std::size_t num_actions(const Schedule& schedule)
{
    std::size_t count = 0;
    for (const auto& actions : schedule.actions)
        count += actions.size();
    return count;
}

IdleByCause idle_of(const Schedule& program, const std::vector<ChunkCosts>& costs, double barrier)
{
    if (num_actions(program) <= most_simulated_actions)
        return idle_causes(program, costs, barrier);
    return idle_causes(without_communication(program), costs, barrier);
}

double parameters_of(const StageMemory& memory, const Precision& precision)
{
    return static_cast<double>(memory.parameter_bytes) /
           static_cast<double>(size_of(precision.compute));
}

bool possible(const RunConfig& config, const PipelineConfig& layout, int num_ranks)
{
    RunConfig with = config;
    with.pipeline = layout;
    try {
        check_layout(with, std::int64_t{num_ranks} * layout.replicas);
        return true;
    } catch (const UserError&) {
        return false; // more chunks than layers, or another number than the partition's
    }
}

/// The same schedule but for its warm-up, which makes no difference.
bool same_figures(const Candidate& a, const Candidate& b)
{
    return a.layout.schedule == b.layout.schedule && a.layout.recompute == b.layout.recompute &&
           a.layout.chunks_per_rank == b.layout.chunks_per_rank &&
           a.seconds_per_update == b.seconds_per_update && a.peak_bytes == b.peak_bytes;
}

/// Smaller is simpler.
auto complexity(const PipelineConfig& layout)
{
    return std::tuple(layout.chunks_per_rank, layout.recompute, layout.extra_warmup,
                      layout.schedule);
}

} // namespace

double Candidate::busy_share() const
{
    double busy = 0.0;
    for (const double rank : idle.busy)
        busy += rank;
    return busy / (seconds_per_update * static_cast<double>(idle.busy.size()));
}

const AssumedRates& assumed_rates(const RunConfig& config)
{
    return config.run.device == "cuda" ? gpu_rates : cpu_rates;
}

std::size_t total_bytes(const StageMemory& memory) { return memory.total_bytes() + program_bytes; }

RankPeak peak_of(const RunPlan& plan)
{
    RankPeak peak;
    for (int rank = 0; rank < plan.program.num_ranks(); ++rank)
        if (const std::size_t bytes = total_bytes(plan.rank_memory(rank)); bytes > peak.bytes)
            peak = {bytes, rank};
    return peak;
}

std::vector<ChunkCosts> costs_of_chunks(const RunPlan& plan, const CostModel& costs)
{
    const double recompute = plan.stage.recompute == Recompute::full   ? costs.recompute.full
                             : plan.stage.recompute == Recompute::lean ? costs.recompute.lean
                                                                       : 0.0;
    return chunk_costs(costs, plan.partition, recompute, plan.message_bytes());
}

Candidate price(const RunConfig& config, const RunPlan& plan, const CostModel& costs)
{
    const std::int32_t num_ranks = plan.program.num_ranks();
    const std::vector<ChunkCosts> chunks = costs_of_chunks(plan, costs);
    Candidate candidate;
    candidate.layout = config.pipeline;
    candidate.ideal_seconds = ideal_seconds(plan.program, chunks);
    candidate.partition_bound =
        candidate.ideal_seconds / busiest_rank_seconds(plan.program, chunks);
    const std::int32_t replicas = config.pipeline.replicas;
    double exchange = 0.0; // every replica waits for the rank with most parameters
    for (int rank = 0; rank < num_ranks; ++rank) {
        const StageMemory memory = plan.rank_memory(rank);
        const double parameters = parameters_of(memory, plan.stage.precision);
        candidate.optimizer_seconds = std::max(
            candidate.optimizer_seconds, parameters / replicas * costs.optimizer_per_parameter);
        exchange = std::max(exchange, exchange_seconds(costs, replicas, memory.gradient_bytes));
        if (total_bytes(memory) > candidate.peak_bytes) {
            candidate.peak_bytes = total_bytes(memory);
            candidate.fullest_rank = rank;
        }
        candidate.memory.push_back(memory);
    }
    candidate.idle =
        idle_of(plan.program, chunks, barrier_seconds(costs, num_ranks * replicas) + exchange);
    candidate.seconds_per_update = candidate.idle.total + candidate.optimizer_seconds;
    return candidate;
}

std::vector<PipelineConfig> possible_layouts(const RunConfig& config, int num_ranks)
{
    std::vector<PipelineConfig> layouts;
    const auto add = [&](const PipelineConfig& layout) {
        const bool known =
            std::any_of(layouts.begin(), layouts.end(), [&](const PipelineConfig& each) {
                return complexity(each) == complexity(layout);
            });
        if (!known && possible(config, layout, num_ranks))
            layouts.push_back(layout);
    };
    if (config.pipeline.schedule != PipelineScheduleKind::automatic)
        layouts.push_back(config.pipeline);
    for (const ScheduleFamily family : all_schedule_families) {
        PipelineConfig layout = config.pipeline;
        layout.schedule_file.clear();
        layout.schedule = kind_of(family);
        const bool chunked = placement_of(family) == Placement::looped;
        if (num_ranks == 1 && placement_of(family) != Placement::linear)
            continue;
        for (std::int32_t chunks = chunked ? 2 : 1; chunks <= most_chunks_per_rank; chunks *= 2) {
            for (std::int32_t extra = 0; extra <= (takes_extra_warmup(family) ? 2 : 0); ++extra) {
                layout.chunks_per_rank = chunks_per_rank_of(family, chunks);
                layout.extra_warmup = extra;
                add(layout);
            }
            if (!chunked)
                break;
        }
    }
    return layouts;
}

std::vector<Candidate> price_all(const RunConfig& config, int num_ranks, const CostModel& costs,
                                 std::size_t bytes_per_rank)
{
    std::vector<Candidate> candidates;
    // Few micro-batches leave nothing for a deeper warm-up to do.
    const auto is_new = [&](const Candidate& candidate) {
        return candidate.layout.extra_warmup == 0 ||
               std::none_of(candidates.begin(), candidates.end(),
                            [&](const Candidate& each) { return same_figures(each, candidate); });
    };
    const bool automatic = config.pipeline.schedule == PipelineScheduleKind::automatic;
    for (const PipelineConfig& layout : possible_layouts(config, num_ranks)) {
        RunConfig with = config;
        with.pipeline = layout;
        RunPlan plan = plan_run(with, num_ranks); // the same program, whatever is computed again
        const bool asked = !automatic && candidates.empty();
        if (asked) {
            candidates.push_back(price(with, plan, costs));
            candidates.back().asked = true;
        }
        for (const Recompute recompute : {Recompute::none, Recompute::lean, Recompute::full}) {
            if (automatic && recompute < config.pipeline.recompute)
                continue; // what the run file asks for is the least
            with.pipeline.recompute = plan.stage.recompute = recompute;
            Candidate candidate = asked && recompute == layout.recompute ? candidates.front()
                                                                         : price(with, plan, costs);
            const bool fits = candidate.fits(bytes_per_rank);
            if (!(asked && recompute == layout.recompute) &&
                (fits || recompute == Recompute::full) && is_new(candidate))
                candidates.push_back(std::move(candidate));
            if (fits)
                break;
        }
    }
    return candidates;
}

const Candidate* recommended(const std::vector<Candidate>& candidates, std::size_t bytes_per_rank)
{
    constexpr double nearly = 1.01;
    double fastest = std::numeric_limits<double>::infinity();
    for (const Candidate& candidate : candidates)
        if (candidate.fits(bytes_per_rank))
            fastest = std::min(fastest, candidate.seconds_per_update);
    const auto fast = [&](const Candidate& candidate) {
        return candidate.fits(bytes_per_rank) && candidate.seconds_per_update <= nearly * fastest;
    };
    auto least = static_cast<double>(unlimited_bytes);
    for (const Candidate& candidate : candidates)
        if (fast(candidate))
            least = std::min(least, static_cast<double>(candidate.peak_bytes));
    const Candidate* best = nullptr;
    for (const Candidate& candidate : candidates)
        if (fast(candidate) && static_cast<double>(candidate.peak_bytes) <= nearly * least &&
            (best == nullptr || complexity(candidate.layout) < complexity(best->layout)))
            best = &candidate;
    return best;
}

void warn_of_what_auto_chooses(const PipelineConfig& asked)
{
    const PipelineConfig nothing_said;
    if (asked.chunks_per_rank != nothing_said.chunks_per_rank ||
        asked.extra_warmup != nothing_said.extra_warmup)
        log_warning("pipeline.schedule = \"auto\" chooses chunks_per_rank and extra_warmup, "
                    "whatever the run file says of them; name a schedule to have your own");
}

RunConfig resolve_auto(const RunConfig& config, int num_ranks, std::size_t bytes_per_rank,
                       std::size_t reserve_bytes)
{
    if (config.pipeline.schedule != PipelineScheduleKind::automatic)
        return config;
    warn_of_what_auto_chooses(config.pipeline);
    check_layout(config, std::int64_t{num_ranks} * config.pipeline.replicas);
    const CostModel costs = costs_from_flops(
        config.model, {config.batch.micro_batch_size, config.batch.seq_len}, assumed_rates(config));
    RunConfig resolved = config;
    if (const std::size_t less = bytes_per_rank - std::min(bytes_per_rank, reserve_bytes);
        less < bytes_per_rank) {
        const auto candidates = price_all(config, num_ranks, costs, less);
        if (const Candidate* best = recommended(candidates, less); best != nullptr) {
            resolved.pipeline = best->layout;
            return resolved;
        }
    }
    const auto candidates = price_all(config, num_ranks, costs, bytes_per_rank);
    SLUICE_CHECK(!candidates.empty() || config.pipeline.partition != "auto",
                 "no layout for " << num_ranks << " ranks");
    if (candidates.empty())
        throw usage_error(
            "no schedule has as many chunks on these ranks as pipeline.partition = \"" +
                config.pipeline.partition + "\" names",
            layout_of_ranks(std::int64_t{num_ranks} * config.pipeline.replicas),
            "give one number per stage, " + std::to_string(num_ranks) +
                ", or twice as many, or write --set pipeline.partition=auto");
    if (const Candidate* best = recommended(candidates, bytes_per_rank); best != nullptr) {
        resolved.pipeline = best->layout;
        return resolved;
    }
    const auto smallest = std::min_element(
        candidates.begin(), candidates.end(),
        [](const Candidate& a, const Candidate& b) { return a.peak_bytes < b.peak_bytes; });
    resolved.pipeline = smallest->layout;
    refuse_unless_it_fits(resolved, plan_run(resolved, num_ranks), bytes_per_rank);
    SLUICE_CHECK(false, "a layout that does not fit was not refused");
    return resolved;
}

std::string as_overrides(const PipelineConfig& layout, const PipelineConfig& from)
{
    std::string text;
    const auto set = [&](bool differs, const std::string& key, const auto& value) {
        if (differs)
            text += fmt::format("{}--set pipeline.{}={}", text.empty() ? "" : " ", key, value);
    };
    set(layout.schedule != from.schedule, "schedule", name_of(layout.schedule));
    set(layout.chunks_per_rank != from.chunks_per_rank, "chunks_per_rank", layout.chunks_per_rank);
    set(layout.extra_warmup != from.extra_warmup, "extra_warmup", layout.extra_warmup);
    set(layout.recompute != from.recompute, "recompute", name_of(layout.recompute));
    set(!from.schedule_file.empty() && layout.schedule_file.empty(), "schedule_file", "\"\"");
    return text;
}

} // namespace sluice
