#include "src/plan/plan_report.hpp"

#include "pipeline/timeline/compute_actions.hpp"
#include "src/config/run_key.hpp"
#include "src/plan/checkpoint_space.hpp"
#include "src/process/process_memory.hpp"
#include "src/text/number_text.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <set>

namespace sluice {

namespace {

constexpr int most_rank_lines = 24;

std::string layers_text(const RunPlan& plan, int rank)
{
    std::string text;
    int chunks = 0;
    for (std::int32_t chunk = 0; chunk < plan.program.num_chunks; ++chunk) {
        if (plan.program.rank_of_chunk[static_cast<std::size_t>(chunk)] != rank)
            continue;
        const LayerRange& range = plan.partition[static_cast<std::size_t>(chunk)];
        std::string layers;
        if (range.num_layers() == 1)
            layers = fmt::format("{}", range.begin);
        else if (range.num_layers() > 1)
            layers = fmt::format("{}-{}", range.begin, range.end - 1);
        if (range.embedding)
            layers = layers.empty() ? "e" : "e," + layers;
        if (range.head)
            layers += layers.empty() ? "h" : ",h";
        text += (text.empty() ? "" : " ") + layers;
        ++chunks;
    }
    constexpr std::size_t width = 17;
    if (text.size() <= width)
        return text;
    const std::string more = fmt::format(".. ({} chunks)", chunks);
    return text.substr(0, width - more.size()) + more;
}

double cost_of_rank(const RunPlan& plan, int rank)
{
    double cost = 0.0;
    for (std::int32_t chunk = 0; chunk < plan.program.num_chunks; ++chunk)
        if (plan.program.rank_of_chunk[static_cast<std::size_t>(chunk)] == rank)
            cost += cost_of(plan.partition[static_cast<std::size_t>(chunk)], plan.costs);
    return cost / plan.costs.decoder_layer;
}

std::string percent(double part, double whole)
{
    return fmt::format("{:.1f}%", 100.0 * part / whole);
}

/// Without the "-0.0%" of rounding.
double positive_zero(double value) { return std::abs(value) < 1e-12 ? 0.0 : value; }

/// First, last, the fullest, and evenly spaced ones between.
std::vector<int> shown_ranks(int num_ranks, int fullest)
{
    std::set<int> ranks{fullest};
    const int lines = std::min(num_ranks, most_rank_lines);
    for (int line = 0; line < lines; ++line)
        ranks.insert(lines == 1 ? 0
                                : static_cast<int>(static_cast<std::int64_t>(line) *
                                                   (num_ranks - 1) / (lines - 1)));
    return {ranks.begin(), ranks.end()};
}

} // namespace

std::string layout_name(const PipelineConfig& layout)
{
    std::string name(name_of(layout.schedule));
    if (layout.schedule == PipelineScheduleKind::interleaved_1f1b ||
        layout.schedule == PipelineScheduleKind::interleaved_zb)
        name += fmt::format(" x{}", layout.chunks_per_rank);
    if (layout.extra_warmup > 0)
        name += fmt::format(" +{}", layout.extra_warmup);
    if (layout.recompute != Recompute::none)
        name += fmt::format(" {}", name_of(layout.recompute));
    return name;
}

std::string heading_text(const PricedPlan& priced)
{
    const RunConfig& config = priced.config;
    const double tokens = static_cast<double>(config.batch.tokens_per_update());
    const double flops = flops_per_token(config.model, config.batch.seq_len);
    return fmt::format(
        "{} parameters, {} layers on {} rank{}{}, {} micro-batches of {} x {} tokens\n"
        "{:.3g} GFLOP per token, {:.4g} TFLOP per update\n"
        "schedule {}; costs: {}\n{}",
        count_text(static_cast<double>(num_parameters(config.model))), config.model.num_layers,
        priced.plan.program.num_ranks(), priced.plan.program.num_ranks() == 1 ? "" : "s",
        config.pipeline.replicas > 1
            ? fmt::format(" in each of {} replicas", config.pipeline.replicas)
            : "",
        priced.plan.program.num_microbatches, config.batch.micro_batch_size, config.batch.seq_len,
        flops * 1e-9, flops * tokens * 1e-12, layout_name(priced.candidate.layout),
        priced.costs.source,
        config.run.device == "auto"
            ? "for CPUs, as run.device is \"auto\"; --set run.device=cuda plans for GPUs\n"
            : "");
}

std::string ranks_text(const PricedPlan& priced)
{
    const Candidate& candidate = priced.candidate;
    const int num_ranks = priced.plan.program.num_ranks();
    std::string text =
        fmt::format("{:>4} {:<17}{:>6}{:>8}{:>7}{:>8}{:>8}{:>6}{:>8}{:>7}\n", "rank", "layers",
                    "cost", "weights", "grads", "moments", "activ.", "send", "total", "idle");
    const auto mb = [](std::size_t bytes) {
        const double size = static_cast<double>(bytes) * 1e-6;
        return fmt::format("{:.{}f}", size, size < 99.95 ? 1 : 0);
    };
    const std::vector<int> ranks = shown_ranks(num_ranks, candidate.fullest_rank);
    for (const int rank : ranks) {
        const StageMemory& memory = candidate.memory[static_cast<std::size_t>(rank)];
        text += fmt::format(
            "{:>4} {:<17}{:>6.2f}{:>8}{:>7}{:>8}{:>8}{:>6}{:>8}{:>7}\n", rank,
            layers_text(priced.plan, rank), cost_of_rank(priced.plan, rank),
            mb(memory.parameter_bytes), mb(memory.gradient_bytes), mb(memory.optimizer_bytes),
            mb(memory.activation_bytes + memory.scratch_bytes),
            mb(memory.transfer_bytes + memory.exchange_bytes), mb(total_bytes(memory)),
            percent(candidate.idle.ranks[static_cast<std::size_t>(rank)].idle(),
                    candidate.seconds_per_update));
    }
    if (static_cast<int>(ranks.size()) < num_ranks)
        text +=
            fmt::format("     {} of {} ranks, the fullest among them\n", ranks.size(), num_ranks);
    text += fmt::format("layers: e embedding, h final norm and head; cost in decoder layers; MB "
                        "(10^6)\n{}activ. with scratch, total with {} of program{}; fullest: "
                        "rank {}, {}\n",
                        priced.plan.stage.precision.has_master()
                            ? "weights in bf16, moments with the fp32 master weights\n"
                            : "",
                        bytes_text(program_bytes),
                        candidate.memory.front().snapshot_bytes > 0
                            ? " and, for saves,\na copy of weights and moments"
                            : "",
                        candidate.fullest_rank, bytes_text(candidate.peak_bytes));
    const CheckpointSpace space = plan_checkpoint_space(priced.config, priced.plan);
    text +=
        fmt::format("a checkpoint takes {} on disk; up to {} at once, {}\n",
                    bytes_text(space.bytes_each), space.most_kept, bytes_text(space.most_bytes()));
    return text;
}

std::string time_text(const PricedPlan& priced)
{
    const Candidate& candidate = priced.candidate;
    const IdleCauses idle = candidate.idle.mean();
    const double total = candidate.seconds_per_update;
    const double tokens = static_cast<double>(priced.config.batch.tokens_per_update());
    return fmt::format(
        "an update takes {}: {} tokens per second\n"
        "  computing {}, optimizer {}, idle {}\n"
        "  idle: fill and drain {}, imbalance {}, transfers {}, barrier {}\n"
        "  computing at most {} with this partition; {} if evenly spread\n",
        seconds_text(total), count_text(tokens / total), percent(candidate.busy_share(), 1.0),
        percent(candidate.optimizer_seconds, total), percent(idle.idle(), total),
        percent(positive_zero(idle.fill_drain), total),
        percent(positive_zero(idle.imbalance), total),
        percent(positive_zero(idle.exposed_transfer), total), percent(idle.barrier, total),
        percent(candidate.partition_bound, 1.0), seconds_text(candidate.ideal_seconds));
}

std::string comparison_text(const std::vector<Candidate>& candidates, std::size_t bytes_per_rank)
{
    std::vector<const Candidate*> order;
    for (const Candidate& candidate : candidates)
        order.push_back(&candidate);
    std::stable_sort(order.begin(), order.end(), [&](const Candidate* a, const Candidate* b) {
        const bool fit_a = a->fits(bytes_per_rank), fit_b = b->fits(bytes_per_rank);
        return fit_a != fit_b ? fit_a : a->seconds_per_update < b->seconds_per_update;
    });
    std::string text = fmt::format("{:<31}{:>8}{:>7}{:>7}{:>7}{:>9}{:>8}\n", "schedule", "update",
                                   "busy", "fill", "imbal.", "transfer", "memory");
    bool any_asked = false;
    for (const Candidate* candidate : order) {
        const IdleCauses idle = candidate->idle.mean();
        const double total = candidate->seconds_per_update;
        any_asked = any_asked || candidate->asked;
        text += fmt::format(
            "{:<31}{:>8}{:>7}{:>7}{:>7}{:>9}{:>8}{}\n",
            layout_name(candidate->layout) + (candidate->asked ? " *" : ""),
            seconds_text(candidate->seconds_per_update), percent(candidate->busy_share(), 1.0),
            percent(positive_zero(idle.fill_drain), total),
            percent(positive_zero(idle.imbalance), total),
            percent(positive_zero(idle.exposed_transfer), total), bytes_text(candidate->peak_bytes),
            candidate->fits(bytes_per_rank) ? "" : " no");
    }
    text += "xN: chunks per rank; +N: extra warm-up; lean, full: recomputation;\nmemory: of the "
            "fullest rank";
    if (any_asked)
        text += "; *: the run file's";
    if (std::any_of(order.begin(), order.end(),
                    [&](const Candidate* each) { return !each->fits(bytes_per_rank); }))
        text += "\nno: does not fit into " + bytes_text(bytes_per_rank);
    return text + "\n";
}

std::string recommendation_text(const std::vector<Candidate>& candidates, const RunConfig& config,
                                std::size_t bytes_per_rank)
{
    const Candidate* best = recommended(candidates, bytes_per_rank);
    if (best == nullptr)
        return "recommended: nothing, since no schedule fits\n";
    const std::string figures = fmt::format(
        "{} per update, {}", seconds_text(best->seconds_per_update), bytes_text(best->peak_bytes));
    const std::string overrides = as_overrides(best->layout, config.pipeline);
    if (overrides.empty())
        return "recommended: the run file's schedule as it is: " + figures + "\n";
    return fmt::format("recommended ({}):\n  {}\n", figures, overrides);
}

} // namespace sluice
