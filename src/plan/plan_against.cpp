#include "src/plan/plan_against.hpp"

#include "core/error.hpp"
#include "pipeline/timeline/compute_actions.hpp"
#include "src/config/run_key.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace sluice {

namespace {

constexpr std::size_t most_lines = 16;

/// One part of an update, of the mean rank, in seconds.
struct Part {
    std::string name;
    double planned = 0.0, replanned = 0.0, measured = 0.0;
    bool in_bound = false; ///< takes its time whatever messages and data take
    double difference() const { return measured - planned; }
};

double mean_of(const std::vector<double>& values)
{
    double sum = 0.0;
    for (const double value : values)
        sum += value;
    return sum / static_cast<double>(values.size());
}

double mean_of(const MeasuredRun& run, double MeasuredRank::*part)
{
    double sum = 0.0;
    for (const MeasuredRank& rank : run.ranks)
        sum += rank.*part;
    return sum / static_cast<double>(run.ranks.size());
}

IdleByCause replan(const PricedPlan& priced, const MeasuredRun& measured)
{
    std::vector<ChunkCosts> costs;
    for (const MeasuredWork& work : measured.chunks)
        costs.push_back(work.replayed);
    return idle_causes(priced.plan.program, costs, measured.barrier_seconds);
}

std::vector<Part> parts_of(const PricedPlan& priced, const MeasuredRun& measured)
{
    const Candidate& candidate = priced.candidate;
    const IdleByCause again = replan(priced, measured);
    const IdleCauses idle = candidate.idle.mean(), idle_again = again.mean();
    const auto mean = [&](double MeasuredRank::*part) { return mean_of(measured, part); };
    return {
        {"computing", mean_of(candidate.idle.busy), mean_of(again.busy),
         mean(&MeasuredRank::compute), true},
        {"fill and drain", idle.fill_drain, idle_again.fill_drain, mean(&MeasuredRank::fill_drain),
         true},
        {"imbalance", idle.imbalance, idle_again.imbalance, mean(&MeasuredRank::imbalance), true},
        {"transfers", idle.exposed_transfer, idle_again.exposed_transfer,
         mean(&MeasuredRank::exposed_transfer)},
        {"barrier", idle.barrier, idle_again.barrier, mean(&MeasuredRank::barrier)},
        {"optimizer", candidate.optimizer_seconds, mean(&MeasuredRank::optimizer),
         mean(&MeasuredRank::optimizer), true},
        {"jitter", 0.0, 0.0, mean(&MeasuredRank::jitter)},
        {"data", 0.0, 0.0, mean(&MeasuredRank::data)},
        {"other", 0.0, 0.0, mean(&MeasuredRank::other)},
    };
}

std::string change(double planned, double measured)
{
    return planned > 0.0 ? fmt::format("{:+.1f}%", 100.0 * (measured / planned - 1.0)) : "-";
}

std::string parts_text(const std::vector<Part>& parts, double measured_update)
{
    Part update{"update"};
    for (const Part& part : parts) {
        update.planned += part.planned;
        update.replanned += part.replanned;
    }
    update.measured = measured_update;
    std::string text = fmt::format("{:<16}{:>11}{:>22}{:>12}{:>18}\n", "mean rank", "plan",
                                   "with measured chunks", "measured", "plan off by");
    const auto line = [&](const Part& part) {
        text += fmt::format(
            "{:<16}{:>11}{:>22}{:>12}{:>18}\n", part.name, seconds_text(part.planned),
            seconds_text(part.replanned), seconds_text(part.measured),
            fmt::format("{:+.1f}% of update", 100.0 * part.difference() / measured_update));
    };
    for (const Part& part : parts)
        line(part);
    line(update);
    return text;
}

/// A chunk's work as planned and as measured, one micro-batch.
struct ChunkDifference {
    std::size_t chunk = 0;
    double planned_forward = 0.0, measured_forward = 0.0;
    double planned_backward = 0.0, measured_backward = 0.0;
    double difference() const
    {
        return measured_forward + measured_backward - planned_forward - planned_backward;
    }
};

std::vector<ChunkDifference> chunk_differences(const PricedPlan& priced,
                                               const MeasuredRun& measured)
{
    const auto planned = costs_of_chunks(priced.plan, priced.costs);
    std::vector<ChunkDifference> differences;
    for (std::size_t chunk = 0; chunk < planned.size(); ++chunk) {
        const MeasuredWork& work = measured.chunks[chunk];
        differences.push_back(
            {.chunk = chunk,
             .planned_forward = planned[chunk].forward,
             .measured_forward = work.forward.value_or(0.0),
             .planned_backward = planned[chunk].backward_input + planned[chunk].backward_weight,
             .measured_backward = work.backward.value_or(work.backward_input.value_or(0.0) +
                                                         work.backward_weight.value_or(0.0))});
    }
    return differences;
}

std::string chunks_text(std::vector<ChunkDifference> differences, const MeasuredRun& measured)
{
    std::string text = fmt::format("{:>5}{:>6}{:>12}{:>12}{:>9}{:>13}{:>12}{:>9}\n", "chunk",
                                   "rank", "forward", "measured", "", "backward", "measured", "");
    const std::size_t all = differences.size();
    if (all > most_lines) {
        std::stable_sort(differences.begin(), differences.end(),
                         [](const ChunkDifference& a, const ChunkDifference& b) {
                             return std::abs(a.difference()) > std::abs(b.difference());
                         });
        differences.resize(most_lines);
    }
    for (const ChunkDifference& each : differences)
        text +=
            fmt::format("{:>5}{:>6}{:>12}{:>12}{:>9}{:>13}{:>12}{:>9}\n", each.chunk,
                        measured.chunks[each.chunk].rank, seconds_text(each.planned_forward),
                        seconds_text(each.measured_forward),
                        change(each.planned_forward, each.measured_forward),
                        seconds_text(each.planned_backward), seconds_text(each.measured_backward),
                        change(each.planned_backward, each.measured_backward));
    if (all > most_lines)
        text += fmt::format("the {} of {} chunks that differ most\n", most_lines, all);
    return text;
}

/// Measured throughput over the bound of idle time and partition, with the chunks as measured.
std::string reached_text(const std::vector<Part>& parts, double measured_update)
{
    double bound = 0.0;
    for (const Part& part : parts)
        bound += part.in_bound ? part.replanned : 0.0;
    return fmt::format("{:.1f}% of the throughput that this schedule and partition allow,\n"
                       "  had nothing waited for messages, data or slower micro-batches\n",
                       100.0 * bound / measured_update);
}

std::string conclusion(const std::vector<Part>& parts,
                       const std::vector<ChunkDifference>& differences, double measured_update)
{
    const auto most =
        std::max_element(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
            return std::abs(a.difference()) < std::abs(b.difference());
        });
    if (std::abs(most->difference()) < 0.01 * measured_update)
        return "plan and measurement agree: no part differs by 1% of an update\n";
    std::string text = fmt::format("they part most in {}: {} {} than planned\n", most->name,
                                   seconds_text(std::abs(most->difference())),
                                   most->difference() > 0.0 ? "more" : "less");
    if (most->name == "computing") {
        const auto chunk =
            std::max_element(differences.begin(), differences.end(),
                             [](const ChunkDifference& a, const ChunkDifference& b) {
                                 return std::abs(a.difference()) < std::abs(b.difference());
                             });
        text += fmt::format("  most of all in chunk {}: {} per micro-batch instead of {};\n"
                            "  costs from this machine: --costs measure\n",
                            chunk->chunk,
                            seconds_text(chunk->measured_forward + chunk->measured_backward),
                            seconds_text(chunk->planned_forward + chunk->planned_backward));
    }
    if (most->name == "jitter")
        text += "  micro-batches differ, ranks did not begin together, or the machine was busy\n";
    return text;
}

} // namespace

void check_same_layout(const PricedPlan& priced, const MeasuredRun& measured)
{
    const auto same = [&](const std::string& what, const auto& planned, const auto& found) {
        if (planned != found)
            throw usage_error(
                fmt::format("the plan has {} {}, the traced run had {}", what, planned, found),
                measured.where, "plan what was run: its run file is config.toml in the run folder");
    };
    const Schedule& program = priced.plan.program;
    same("schedule", std::string(name_of(priced.candidate.layout.schedule)), measured.schedule);
    const std::int32_t replicas = priced.candidate.layout.replicas;
    same("replicas:", replicas, measured.num_replicas);
    same("ranks:",
         static_cast<std::size_t>(program.num_ranks()) * static_cast<std::size_t>(replicas),
         measured.ranks.size());
    same("chunks:", static_cast<std::size_t>(program.num_chunks), measured.chunks.size());
    for (std::size_t chunk = 0; chunk < measured.chunks.size(); ++chunk) {
        const LayerRange& planned = priced.plan.partition[chunk];
        const MeasuredWork& found = measured.chunks[chunk];
        same(fmt::format("in chunk {} the layers", chunk),
             fmt::format("{} to {}", planned.begin, planned.end),
             fmt::format("{} to {}", found.first_layer, found.first_layer + found.num_layers));
    }
    same("micro-batches:", program.num_microbatches, measured.num_microbatches);
    same("sequences per micro-batch:", priced.config.batch.micro_batch_size,
         measured.micro_batch_size);
    same("tokens per sequence:", priced.config.batch.seq_len, measured.seq_len);
}

std::string against_text(const PricedPlan& priced, const MeasuredRun& measured)
{
    check_same_layout(priced, measured);
    const auto parts = parts_of(priced, measured);
    const auto differences = chunk_differences(priced, measured);
    const double update = mean_of(measured, &MeasuredRank::update);
    return fmt::format("plan against {}\n\n", measured.where) + parts_text(parts, update) + "\n" +
           chunks_text(differences, measured) + "\n" + reached_text(parts, update) +
           conclusion(parts, differences, update);
}

} // namespace sluice
