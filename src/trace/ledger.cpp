#include "src/trace/ledger.hpp"

#include "core/error.hpp"
#include "core/median.hpp"
#include "pipeline/idle_causes.hpp"
#include "src/trace/message_times.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

namespace {

std::optional<double> median_if_any(const std::vector<double>& values)
{
    return values.empty() ? std::nullopt : std::optional(upper_median(values));
}

double median_or_zero(const std::vector<double>& values)
{
    return median_if_any(values).value_or(0.0);
}

/// Which compute action an action belongs to: a message to the one that makes or needs it.
ActionKind served_by(ActionKind kind)
{
    switch (kind) {
    case ActionKind::receive_activation:
    case ActionKind::send_activation: return ActionKind::forward;
    case ActionKind::receive_gradient:
    case ActionKind::send_gradient: return ActionKind::backward_input;
    default: return kind;
    }
}

struct Sample {
    double computing = 0.0; ///< seconds
    double occupied = 0.0;  ///< with reading tokens and handling messages
    bool there = false;
};

/// Seconds per [kind][micro-batch] of one chunk in one update. A whole backward and an input
/// gradient share their messages, so a fused chunk's messages are found under backward_input.
using ChunkSamples = std::array<std::vector<Sample>, 4>;

std::size_t index_of(ActionKind kind)
{
    SLUICE_CHECK(computes(kind), static_cast<int>(kind));
    return static_cast<std::size_t>(kind);
}

/// `timelines`: of one replica.
std::vector<ChunkSamples> samples_of(const Schedule& program,
                                     std::span<const RankTimeline> timelines, std::size_t update)
{
    ChunkSamples none;
    none.fill(std::vector<Sample>(static_cast<std::size_t>(program.num_microbatches)));
    std::vector<ChunkSamples> samples(static_cast<std::size_t>(program.num_chunks), none);
    for (std::size_t rank = 0; rank < timelines.size(); ++rank) {
        const RankTimeline& timeline = timelines[rank];
        const RecordedUpdate& recorded = timeline.updates[update];
        for (std::size_t i = recorded.first_span; i < recorded.end_span; ++i) {
            const ActivitySpan& span = timeline.spans[i];
            const bool computing = span.activity == Activity::compute;
            if (span.action < 0 || !(computing || span.activity == Activity::data ||
                                     span.activity == Activity::messages))
                continue;
            const Action& action = program.actions[rank][static_cast<std::size_t>(span.action)];
            Sample& sample =
                samples[static_cast<std::size_t>(action.chunk)][index_of(served_by(action.kind))]
                       [static_cast<std::size_t>(action.microbatch)];
            const double seconds =
                1e-9 * static_cast<double>(timeline.end_ns(i) - timeline.begin_ns(i));
            sample.occupied += seconds;
            if (computing) {
                sample.computing += seconds;
                sample.there = true;
            }
        }
    }
    // Messages of whole backwards were found under backward_input.
    for (ChunkSamples& chunk : samples)
        for (std::size_t m = 0; m < chunk[0].size(); ++m)
            if (Sample& whole = chunk[index_of(ActionKind::backward)][m]; whole.there)
                whole.occupied += chunk[index_of(ActionKind::backward_input)][m].occupied;
    return samples;
}

/// What all updates' micro-batches took, by kind.
struct ChunkTimes {
    std::array<std::vector<double>, 4> computing, occupied;
    std::vector<double> transfer, transfer_at_most; ///< awaited messages; all messages
};

void add_samples(const std::vector<ChunkSamples>& samples, std::vector<ChunkTimes>& times)
{
    for (std::size_t chunk = 0; chunk < samples.size(); ++chunk)
        for (std::size_t kind = 0; kind < samples[chunk].size(); ++kind)
            for (const Sample& sample : samples[chunk][kind])
                if (sample.there) {
                    times[chunk].computing[kind].push_back(sample.computing);
                    times[chunk].occupied[kind].push_back(sample.occupied);
                }
}

MeasuredChunk measured(ChunkTimes& times)
{
    const auto computing = [&](ActionKind kind) {
        return median_if_any(times.computing[index_of(kind)]);
    };
    const auto occupied = [&](ActionKind kind) {
        return median_or_zero(times.occupied[index_of(kind)]);
    };
    MeasuredChunk chunk;
    chunk.forward = computing(ActionKind::forward);
    chunk.backward = computing(ActionKind::backward);
    chunk.backward_input = computing(ActionKind::backward_input);
    chunk.backward_weight = computing(ActionKind::backward_weight);
    chunk.transfer = median_if_any(times.transfer);
    // Where every message was there before anybody asked, the quickest bounds the time from above.
    if (!chunk.transfer && !times.transfer_at_most.empty())
        chunk.transfer =
            *std::min_element(times.transfer_at_most.begin(), times.transfer_at_most.end());
    const double half = occupied(ActionKind::backward) / 2.0;
    chunk.replayed = {
        .forward = occupied(ActionKind::forward),
        .backward_input = chunk.backward ? half : occupied(ActionKind::backward_input),
        .backward_weight = chunk.backward ? half : occupied(ActionKind::backward_weight),
        .transfer = chunk.transfer.value_or(0.0)};
    return chunk;
}

std::vector<MeasuredChunk> measure_chunks(const Schedule& program,
                                          std::span<const RankTimeline> timelines)
{
    std::vector<ChunkTimes> times(static_cast<std::size_t>(program.num_chunks));
    for (std::size_t update = 0; update < timelines[0].updates.size(); ++update) {
        for (std::size_t first = 0; first < timelines.size(); first += program.actions.size())
            add_samples(
                samples_of(program, timelines.subspan(first, program.actions.size()), update),
                times);
        for (const MessageTimes& message : message_times(program, timelines, update)) {
            ChunkTimes& edge = times[static_cast<std::size_t>(message.edge)];
            edge.transfer_at_most.push_back(message.flight_seconds());
            if (message.was_awaited())
                edge.transfer.push_back(message.flight_seconds());
        }
    }
    std::vector<MeasuredChunk> chunks;
    for (ChunkTimes& chunk : times)
        chunks.push_back(measured(chunk));
    return chunks;
}

/// Nanoseconds per activity of one rank's update.
std::array<std::int64_t, num_activities> sums(const RankTimeline& timeline, std::size_t update)
{
    std::array<std::int64_t, num_activities> by_activity{};
    const RecordedUpdate& recorded = timeline.updates[update];
    for (std::size_t i = recorded.first_span; i < recorded.end_span; ++i)
        by_activity[static_cast<std::size_t>(timeline.spans[i].activity)] +=
            timeline.end_ns(i) - timeline.begin_ns(i);
    return by_activity;
}

double median_barrier(std::span<const RankTimeline> timelines)
{
    std::vector<double> shortest;
    for (std::size_t update = 0; update < timelines[0].updates.size(); ++update) {
        std::int64_t least = INT64_MAX;
        for (const RankTimeline& timeline : timelines)
            least = std::min(least,
                             sums(timeline, update)[static_cast<std::size_t>(Activity::reduction)]);
        shortest.push_back(1e-9 * static_cast<double>(least));
    }
    return upper_median(shortest);
}

UpdateSplit split(const RankTimeline& timeline, std::size_t update, const IdleCauses& causes)
{
    const auto by_activity = sums(timeline, update);
    const auto spent = [&](Activity activity) {
        return by_activity[static_cast<std::size_t>(activity)];
    };
    const auto nanoseconds = [](double seconds) { return std::llround(seconds * 1e9); };
    const RecordedUpdate& recorded = timeline.updates[update];
    UpdateSplit split;
    split.update = timeline.begin_ns(recorded.end_span) - timeline.begin_ns(recorded.first_span);
    split.compute = spent(Activity::compute);
    split.data = spent(Activity::data);
    split.optimizer = spent(Activity::optimizer);
    split.other =
        spent(Activity::other) + spent(Activity::evaluation) + spent(Activity::checkpoint);
    split.fill_drain = nanoseconds(causes.fill_drain);
    split.imbalance = nanoseconds(causes.imbalance);
    split.exposed_transfer = nanoseconds(causes.exposed_transfer);
    split.barrier = nanoseconds(causes.barrier);
    const std::int64_t waited = spent(Activity::waiting_for_input) +
                                spent(Activity::waiting_for_buffer) +
                                spent(Activity::waiting_for_sends) + spent(Activity::reduction);
    split.jitter = waited - split.waiting();
    split.exposed_transfer += spent(Activity::messages) + spent(Activity::replicas);
    return split;
}

} // namespace

std::vector<UpdateSplit> Ledger::mean() const
{
    std::vector<UpdateSplit> means(updates.at(0).ranks.size());
    const auto count = static_cast<std::int64_t>(updates.size());
    for (std::size_t rank = 0; rank < means.size(); ++rank) {
        for (const SplitPart& part : split_parts) {
            for (const TracedUpdate& update : updates)
                means[rank].*part.nanoseconds += update.ranks[rank].*part.nanoseconds;
            means[rank].*part.nanoseconds /= count;
        }
        // What rounding lost.
        means[rank].update = 0;
        for (const SplitPart& part : std::span(split_parts).subspan(1))
            means[rank].update += means[rank].*part.nanoseconds;
    }
    return means;
}

Ledger make_ledger(const Schedule& program, std::span<const RankTimeline> timelines)
{
    SLUICE_CHECK(!timelines.empty() && timelines.size() % program.actions.size() == 0 &&
                     !timelines[0].updates.empty(),
                 timelines.size() << " timelines for " << program.num_ranks() << " ranks");
    Ledger ledger;
    ledger.chunks = measure_chunks(program, timelines);
    ledger.barrier_seconds = median_barrier(timelines);
    std::vector<ChunkCosts> costs;
    for (const MeasuredChunk& chunk : ledger.chunks)
        costs.push_back(chunk.replayed);
    const IdleByCause causes = idle_causes(program, costs, ledger.barrier_seconds);
    for (std::size_t update = 0; update < timelines[0].updates.size(); ++update) {
        TracedUpdate& traced = ledger.updates.emplace_back();
        traced.update = timelines[0].updates[update].update;
        for (std::size_t rank = 0; rank < timelines.size(); ++rank)
            traced.ranks.push_back(
                split(timelines[rank], update, causes.ranks[rank % program.actions.size()]));
    }
    return ledger;
}

} // namespace sluice
