#include "src/plan/fitting_changes.hpp"

#include "core/error.hpp"
#include "src/config/layout.hpp"
#include "src/plan/candidate.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <optional>

namespace sluice {

namespace {

/// Passes of one micro-batch through one chunk: a schedule of more is neither tried nor suggested.
constexpr std::int64_t most_tried_passes = 1'000'000;

/// Of each kind, schedules that may fit and are then planned whole.
constexpr std::size_t most_confirmed = 3;

/// The memory of one layout, whatever is computed again: the schedule is the same. In the steady
/// state of a schedule a new micro-batch takes the place of an old one, so that few tell nearly
/// what many need; GPipe, which has no such state, takes as much for each as for the one before.
class LayoutMemory {
public:
    LayoutMemory(const RunConfig& config, int num_ranks) : config_(config), num_ranks_(num_ranks)
    {
        try {
            check_layout(config, std::int64_t{num_ranks} * config.pipeline.replicas);
            plan_few();
        } catch (const UserError&) {
            few_.clear(); // more chunks than layers, or another number than in the schedule's file
        }
    }

    /// Of the fullest rank, from few micro-batches. Infinite when the run cannot be laid out so or
    /// is too large to try.
    double estimate(Recompute recompute) const
    {
        if (few_.empty())
            return std::numeric_limits<double>::infinity();
        double peak = 0.0;
        for (int rank = 0; rank < num_ranks_; ++rank) {
            const double few = bytes_of(few_.front(), recompute, rank);
            const double one_more = bytes_of(few_.back(), recompute, rank);
            peak = std::max(peak, few + left_out_ * (one_more - few));
        }
        return peak;
    }

    /// Of the fullest rank, from all micro-batches, if that fits.
    std::optional<std::size_t> fitting_peak(Recompute recompute, std::size_t bytes_per_rank)
    {
        if (estimate(recompute) > static_cast<double>(bytes_per_rank))
            return std::nullopt;
        if (!whole_)
            whole_ = left_out_ == 0.0 ? few_.front() : plan_run(config_, num_ranks_);
        whole_->stage.recompute = recompute;
        const std::size_t peak = peak_of(*whole_).bytes;
        return peak <= bytes_per_rank ? std::optional(peak) : std::nullopt;
    }

private:
    void plan_few()
    {
        const PipelineConfig& pipeline = config_.pipeline;
        const bool custom = pipeline.schedule == PipelineScheduleKind::custom;
        const std::int64_t chunks = custom ? num_ranks_ : num_chunks(pipeline, num_ranks_);
        const std::int64_t all = config_.batch.num_microbatches() / pipeline.replicas;
        if (all * chunks > most_tried_passes)
            return;
        const std::int64_t steady = 4 * chunks * (1 + std::int64_t{pipeline.extra_warmup});
        if (custom || all <= steady + num_ranks_) { // a file is for so many and no others
            few_.push_back(plan_run(config_, num_ranks_));
            return;
        }
        // Interleaved schedules take micro-batches in groups of P, of which the last may be short.
        const std::int64_t few = steady + (all - steady) % num_ranks_;
        few_.push_back(plan_of(few));
        if (pipeline.schedule == PipelineScheduleKind::gpipe)
            few_.push_back(plan_of(few + 1));
        left_out_ = static_cast<double>(all - few);
    }
    RunPlan plan_of(std::int64_t num_microbatches) const
    {
        RunConfig with = config_;
        with.batch.global_batch_size =
            num_microbatches * with.pipeline.replicas * with.batch.micro_batch_size;
        return plan_run(with, num_ranks_);
    }
    static double bytes_of(const RunPlan& plan, Recompute recompute, int rank)
    {
        StageOptions options = plan.stage;
        options.rank = rank;
        options.recompute = recompute;
        return static_cast<double>(
            total_bytes(plan_memory(options, plan.program, plan.slots, plan.partition)));
    }

    RunConfig config_;
    int num_ranks_;
    std::vector<RunPlan> few_; ///< of few micro-batches; of GPipe's also with one more
    std::optional<RunPlan> whole_;
    double left_out_ = 0.0; ///< micro-batches
};

std::optional<std::size_t> fitting_peak(const RunConfig& config, int num_ranks,
                                        std::size_t bytes_per_rank)
{
    return LayoutMemory(config, num_ranks).fitting_peak(config.pipeline.recompute, bytes_per_rank);
}

std::optional<FittingChange> saves_without_copy(const RunConfig& config, int num_ranks,
                                                std::size_t bytes_per_rank)
{
    if (config.checkpoint.asynchronous != Switch::on)
        return std::nullopt;
    RunConfig with = config;
    with.checkpoint.asynchronous = Switch::off;
    if (const auto peak = fitting_peak(with, num_ranks, bytes_per_rank))
        return FittingChange{"--set checkpoint.asynchronous=false", *peak, false};
    return std::nullopt;
}

std::optional<FittingChange> more_recomputation(const RunConfig& config, int num_ranks,
                                                std::size_t bytes_per_rank)
{
    LayoutMemory memory(config, num_ranks);
    RunConfig with = config;
    for (const Recompute recompute : {Recompute::lean, Recompute::full}) {
        if (recompute <= config.pipeline.recompute)
            continue;
        with.pipeline.recompute = recompute;
        if (const auto peak = memory.fitting_peak(recompute, bytes_per_rank))
            return FittingChange{as_overrides(with.pipeline, config.pipeline), *peak, false};
    }
    return std::nullopt;
}

/// The schedule that needs least memory, if it fits; computing everything again only if it must.
std::optional<FittingChange> another_schedule(const RunConfig& config, int num_ranks,
                                              std::size_t bytes_per_rank)
{
    struct Possible {
        double estimate = 0.0;
        PipelineConfig layout;
    };
    const Recompute as_asked = config.pipeline.recompute;
    std::vector<Possible> possible, possible_in_full;
    for (PipelineConfig& layout : possible_layouts(config, num_ranks)) {
        RunConfig with = config;
        with.pipeline = layout;
        const LayoutMemory memory(with, num_ranks);
        possible.push_back({memory.estimate(as_asked), layout});
        layout.recompute = Recompute::full;
        possible_in_full.push_back({memory.estimate(Recompute::full), layout});
    }
    for (auto* kind : {&possible, &possible_in_full}) {
        std::stable_sort(kind->begin(), kind->end(), [](const Possible& a, const Possible& b) {
            return a.estimate < b.estimate;
        });
        kind->resize(std::min(kind->size(), most_confirmed));
        for (const Possible& each : *kind) {
            RunConfig with = config;
            with.pipeline = each.layout;
            if (const auto peak = fitting_peak(with, num_ranks, bytes_per_rank))
                return FittingChange{as_overrides(with.pipeline, config.pipeline), *peak, false};
        }
    }
    return std::nullopt;
}

std::optional<FittingChange> smaller_micro_batches(const RunConfig& config, int num_ranks,
                                                   std::size_t bytes_per_rank)
{
    const std::int64_t replicas = config.pipeline.replicas;
    for (std::int64_t size = config.batch.micro_batch_size - 1; size >= 1; --size) {
        RunConfig with = config;
        with.batch.micro_batch_size = size;
        const std::int64_t num_microbatches = with.batch.num_microbatches();
        if (num_microbatches > most_microbatches)
            break;
        if (config.batch.global_batch_size % size != 0 || num_microbatches % replicas != 0)
            continue;
        if (const auto peak = fitting_peak(with, num_ranks, bytes_per_rank))
            return FittingChange{fmt::format("--set batch.micro_batch_size={}", size), *peak, true};
    }
    return std::nullopt;
}

/// The number is doubled until the run fits, and then made as small as it may be.
std::optional<FittingChange> more_stages(const RunConfig& config, int num_ranks,
                                         std::size_t bytes_per_rank)
{
    const PipelineConfig& pipeline = config.pipeline;
    if (pipeline.partition != "auto" || pipeline.schedule == PipelineScheduleKind::custom)
        return std::nullopt;
    const std::int64_t replicas = pipeline.replicas;
    const auto most = static_cast<int>(std::min<std::int64_t>(
        most_ranks / replicas, config.model.num_layers / num_chunks(pipeline, 1)));
    int too_few = num_ranks, stages = num_ranks;
    std::optional<std::size_t> peak;
    while (!peak && stages < most) {
        too_few = stages;
        stages = std::min(2 * stages, most);
        peak = fitting_peak(config, stages, bytes_per_rank);
    }
    if (!peak)
        return std::nullopt;
    while (stages - too_few > 1) {
        const int between = too_few + (stages - too_few) / 2;
        if (const auto found = fitting_peak(config, between, bytes_per_rank)) {
            stages = between;
            peak = found;
        } else {
            too_few = between;
        }
    }
    const std::string each = replicas == 1 ? "" : fmt::format(", {} for each replica", stages);
    return FittingChange{fmt::format("{} ranks{}", stages * replicas, each), *peak, false};
}

std::vector<FittingChange> single_changes(const RunConfig& config, int num_ranks,
                                          std::size_t bytes_per_rank)
{
    std::vector<FittingChange> changes;
    for (const auto& find : {saves_without_copy, more_recomputation, another_schedule,
                             smaller_micro_batches, more_stages})
        if (const auto change = find(config, num_ranks, bytes_per_rank);
            change && std::none_of(changes.begin(), changes.end(), [&](const FittingChange& each) {
                return each.overrides == change->overrides;
            }))
            changes.push_back(*change);
    return changes;
}

/// One more step towards the least memory, and what it is called; nothing is left to do where all
/// have been taken.
std::optional<FittingChange> take_step(RunConfig& config)
{
    const std::int64_t all = config.batch.global_batch_size;
    if (config.checkpoint.asynchronous == Switch::on) {
        config.checkpoint.asynchronous = Switch::off;
        return FittingChange{.overrides = "--set checkpoint.asynchronous=false"};
    }
    if (config.pipeline.recompute != Recompute::full) {
        const PipelineConfig before = config.pipeline;
        config.pipeline.recompute = Recompute::full;
        return FittingChange{.overrides = as_overrides(config.pipeline, before)};
    }
    if (config.batch.micro_batch_size > 1 && all <= most_microbatches &&
        all % config.pipeline.replicas == 0) {
        config.batch.micro_batch_size = 1;
        return FittingChange{.overrides = "--set batch.micro_batch_size=1", .changes_result = true};
    }
    return std::nullopt;
}

FittingChange both(const FittingChange& first, const FittingChange& then)
{
    const bool is_override = then.overrides.starts_with("--set");
    return {first.overrides + (is_override ? " " : " and ") + then.overrides, then.peak_bytes,
            first.changes_result || then.changes_result};
}

} // namespace

std::vector<FittingChange> changes_that_fit(const RunConfig& config, int num_ranks,
                                            std::size_t bytes_per_rank)
{
    RunConfig with = config;
    std::optional<FittingChange> taken;
    for (;;) {
        std::vector<FittingChange> changes = single_changes(with, num_ranks, bytes_per_rank);
        if (taken)
            for (FittingChange& change : changes)
                change = both(*taken, change);
        if (!changes.empty())
            return changes;
        const std::optional<FittingChange> step = take_step(with);
        if (!step)
            return {};
        taken = taken ? both(*taken, *step) : *step;
    }
}

} // namespace sluice
