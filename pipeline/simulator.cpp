#include "pipeline/simulator.hpp"

#include "core/error.hpp"

#include <algorithm>

namespace sluice {

namespace {

constexpr double never = -1.0;

/// The messages that arrive at each (chunk, micro-batch), of one direction.
struct Messages {
    std::vector<double> sent, posted; ///< [chunk * M + m], seconds, or never
};

/// Ranks run until something is missing; whoever provides it wakes them. Each action is run once
/// and each message wakes at most two ranks, so the whole is linear.
template <typename Visit>
class Timeline {
public:
    Timeline(const Schedule& schedule, std::span<const ChunkCosts> costs, Visit& visit)
        : schedule_(schedule), costs_(costs), visit_(visit), lowered_(has_communication(schedule)),
          clock_(schedule.actions.size(), 0.0), next_(schedule.actions.size(), 0),
          queued_(schedule.actions.size(), false)
    {
        for (Messages* messages : {&activations_, &gradients_}) {
            messages->sent.assign(schedule.num_entries(), never);
            // Without receive actions every receive counts as posted from the start.
            if (lowered_)
                messages->posted.assign(schedule.num_entries(), never);
        }
    }

    std::vector<StuckRank> run()
    {
        for (std::int32_t rank = schedule_.num_ranks() - 1; rank >= 0; --rank)
            wake(rank);
        run_awake_ranks();
        while (all_at_barrier_or_done()) {
            if (!pass_barrier())
                return {};
            run_awake_ranks();
        }
        std::vector<StuckRank> stuck;
        for (std::int32_t rank = 0; rank < schedule_.num_ranks(); ++rank)
            if (!done(rank) && !at_barrier(rank))
                stuck.push_back({rank, next_[rank], missing_for(current(rank))});
        return stuck;
    }

private:
    const Action& current(std::int32_t rank) const { return schedule_.actions[rank][next_[rank]]; }
    bool done(std::int32_t rank) const { return next_[rank] == schedule_.actions[rank].size(); }
    bool at_barrier(std::int32_t rank) const
    {
        return !done(rank) && current(rank).kind == ActionKind::optimizer_step;
    }
    std::int32_t last_chunk() const { return schedule_.num_chunks - 1; }

    void wake(std::int32_t rank)
    {
        if (!queued_[rank]) {
            queued_[rank] = true;
            awake_.push_back(rank);
        }
    }

    void run_awake_ranks()
    {
        while (!awake_.empty()) {
            const std::int32_t rank = awake_.back();
            awake_.pop_back();
            while (!done(rank) && !at_barrier(rank) && run_one(rank)) {
            }
            queued_[rank] = false;
        }
    }

    bool all_at_barrier_or_done() const
    {
        for (std::int32_t rank = 0; rank < schedule_.num_ranks(); ++rank)
            if (!done(rank) && !at_barrier(rank))
                return false;
        return true;
    }

    /// False when no rank was waiting at the optimizer step.
    bool pass_barrier()
    {
        const double time = clock_.empty() ? 0.0 : *std::max_element(clock_.begin(), clock_.end());
        bool any = false;
        for (std::int32_t rank = 0; rank < schedule_.num_ranks(); ++rank)
            if (at_barrier(rank)) {
                any = true;
                finish(rank, {time, time});
                wake(rank);
            }
        return any;
    }

    void finish(std::int32_t rank, ActionTime time)
    {
        visit_(rank, next_[rank], time);
        clock_[rank] = time.end;
        ++next_[rank];
    }

    /// When a message of this direction is there for `chunk`: never, or seconds.
    double arrival(const Messages& messages, std::int32_t edge, std::size_t at) const
    {
        if (messages.sent[at] == never)
            return never;
        if (!schedule_.crosses(edge))
            return messages.sent[at];
        if (!lowered_)
            return messages.sent[at] + costs_[edge].transfer;
        if (messages.posted[at] == never)
            return never;
        return std::max(messages.sent[at], messages.posted[at]) + costs_[edge].transfer;
    }

    /// When the input of a compute action is there; 0 when it needs none from another chunk.
    double input_arrival(const Action& action) const
    {
        const std::size_t at = schedule_.entry(action.chunk, action.microbatch);
        if (action.kind == ActionKind::forward && action.chunk > 0)
            return arrival(activations_, action.chunk - 1, at);
        if ((action.kind == ActionKind::backward || action.kind == ActionKind::backward_input) &&
            action.chunk < last_chunk())
            return arrival(gradients_, action.chunk, at);
        return 0.0;
    }

    void deliver(Messages& messages, std::int32_t to_chunk, std::int32_t microbatch, double time)
    {
        messages.sent[schedule_.entry(to_chunk, microbatch)] = time;
        wake(schedule_.rank_of_chunk[to_chunk]);
    }

    /// False when the action has to wait for something.
    bool run_one(std::int32_t rank)
    {
        const Action& action = current(rank);
        if (is_message(action.kind)) {
            run_message(rank, action);
            return true;
        }
        const double ready = input_arrival(action);
        if (ready == never)
            return false;
        const double start = std::max(clock_[rank], ready);
        const double end = start + seconds_of(costs_[action.chunk], action.kind);
        finish(rank, {start, end});
        // Where no send action follows, the result is on its way at once.
        if (action.kind == ActionKind::forward && action.chunk < last_chunk() &&
            !(lowered_ && schedule_.crosses(action.chunk)))
            deliver(activations_, action.chunk + 1, action.microbatch, end);
        if ((action.kind == ActionKind::backward || action.kind == ActionKind::backward_input) &&
            action.chunk > 0 && !(lowered_ && schedule_.crosses(action.chunk - 1)))
            deliver(gradients_, action.chunk - 1, action.microbatch, end);
        return true;
    }

    void run_message(std::int32_t rank, const Action& action)
    {
        const bool gradient =
            action.kind == ActionKind::receive_gradient || action.kind == ActionKind::send_gradient;
        const bool receive = action.kind == ActionKind::receive_activation ||
                             action.kind == ActionKind::receive_gradient;
        Messages& messages = gradient ? gradients_ : activations_;
        const std::int32_t other = action.chunk + (gradient == receive ? 1 : -1);
        const double now = clock_[rank];
        finish(rank, {now, now});
        if (other < 0 || other > last_chunk()) // nobody there: the checker's matter
            return;
        if (receive)
            messages.posted[schedule_.entry(action.chunk, action.microbatch)] = now;
        else
            deliver(messages, other, action.microbatch, now);
    }

    std::string missing_for(const Action& action) const
    {
        const auto on = [&](Action wanted) {
            return text_of(wanted) + " on rank " +
                   std::to_string(schedule_.rank_of_chunk[wanted.chunk]);
        };
        const std::int32_t c = action.chunk, m = action.microbatch;
        switch (action.kind) {
        case ActionKind::forward:
            if (lowered_ && schedule_.crosses(c - 1))
                return activations_.posted[schedule_.entry(c, m)] == never
                           ? on({ActionKind::receive_activation, c, m})
                           : on({ActionKind::send_activation, c - 1, m});
            return on({ActionKind::forward, c - 1, m});
        default:
            if (lowered_ && schedule_.crosses(c))
                return gradients_.posted[schedule_.entry(c, m)] == never
                           ? on({ActionKind::receive_gradient, c, m})
                           : on({ActionKind::send_gradient, c + 1, m});
            return "the input gradient of chunk " + std::to_string(c + 1) + ", micro-batch " +
                   std::to_string(m);
        }
    }

    const Schedule& schedule_;
    std::span<const ChunkCosts> costs_;
    Visit& visit_;
    bool lowered_;
    Messages activations_, gradients_;
    std::vector<double> clock_;     ///< [rank]
    std::vector<std::size_t> next_; ///< [rank]
    std::vector<bool> queued_;      ///< [rank]
    std::vector<std::int32_t> awake_;
};

} // namespace

double seconds_of(const ChunkCosts& costs, ActionKind kind)
{
    switch (kind) {
    case ActionKind::forward: return costs.forward;
    case ActionKind::backward: return costs.backward_input + costs.backward_weight;
    case ActionKind::backward_input: return costs.backward_input;
    case ActionKind::backward_weight: return costs.backward_weight;
    default: return 0.0;
    }
}

bool has_communication(const Schedule& schedule)
{
    for (const auto& actions : schedule.actions)
        for (const Action& action : actions)
            if (is_message(action.kind))
                return true;
    return false;
}

std::vector<StuckRank> run_timeline(const Schedule& schedule, std::span<const ChunkCosts> costs,
                                    const VisitAction& visit)
{
    SLUICE_CHECK(static_cast<std::int32_t>(costs.size()) == schedule.num_chunks,
                 costs.size() << " costs for " << schedule.num_chunks << " chunks");
    return Timeline<const VisitAction>(schedule, costs, visit).run();
}

Simulation simulate(const Schedule& schedule, std::span<const ChunkCosts> costs, ActionTimes keep)
{
    SLUICE_CHECK(static_cast<std::int32_t>(costs.size()) == schedule.num_chunks,
                 costs.size() << " costs for " << schedule.num_chunks << " chunks");
    Simulation simulation;
    simulation.busy.assign(schedule.actions.size(), 0.0);
    if (keep == ActionTimes::kept) {
        simulation.times.resize(schedule.actions.size());
        for (std::size_t rank = 0; rank < schedule.actions.size(); ++rank)
            simulation.times[rank].resize(schedule.actions[rank].size());
    }
    const auto visit = [&](std::int32_t rank, std::size_t position, ActionTime time) {
        if (keep == ActionTimes::kept)
            simulation.times[rank][position] = time;
        simulation.busy[rank] += time.end - time.start;
        simulation.total = std::max(simulation.total, time.end);
    };
    const auto stuck = Timeline<const decltype(visit)>(schedule, costs, visit).run();
    SLUICE_CHECK(stuck.empty(), "rank " << stuck[0].rank << " waits for " << stuck[0].waits_for);
    for (const double busy : simulation.busy)
        simulation.idle.push_back(simulation.total - busy);
    return simulation;
}

double ideal_seconds(const Schedule& schedule, std::span<const ChunkCosts> costs)
{
    double work = 0.0;
    for (const ChunkCosts& cost : costs)
        work += cost.forward + cost.backward_input + cost.backward_weight;
    return work * schedule.num_microbatches / static_cast<double>(schedule.num_ranks());
}

double busiest_rank_seconds(const Schedule& schedule, std::span<const ChunkCosts> costs)
{
    std::vector<double> work(schedule.actions.size(), 0.0);
    for (std::int32_t chunk = 0; chunk < schedule.num_chunks; ++chunk)
        work[schedule.rank_of_chunk[chunk]] +=
            costs[chunk].forward + costs[chunk].backward_input + costs[chunk].backward_weight;
    return schedule.num_microbatches * *std::max_element(work.begin(), work.end());
}

} // namespace sluice
