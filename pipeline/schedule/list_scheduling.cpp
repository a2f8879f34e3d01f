#include "pipeline/schedule/list_scheduling.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

namespace sluice {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// Seconds per (chunk, micro-batch): [chunk * M + m].
using Times = std::vector<double>;

struct ChunkProgress {
    std::int32_t forwards = 0, inputs = 0, weights = 0; ///< done
};

class ListScheduler {
public:
    ListScheduler(const Schedule& reference, std::span<const ChunkCosts> costs,
                  const ListScheduling& options)
        : reference_(reference), costs_(costs), options_(options),
          microbatches_(reference.num_microbatches), progress_(costs.size()),
          chunks_of_rank_(reference.actions.size()), live_(reference.actions.size(), 0),
          clock_(reference.actions.size(), 0.0)
    {
        for (Times* times : {&forward_turn_, &input_turn_})
            times->assign(reference.num_entries(), 0.0);
        for (Times* times : {&forward_ready_, &input_ready_})
            times->assign(reference.num_entries(), never);
        std::fill_n(forward_ready_.begin(), microbatches_, 0.0);
        for (std::int32_t c = 0; c < reference.num_chunks; ++c)
            chunks_of_rank_[rank_of(c)].push_back(c);
        result_.schedule = {.num_chunks = reference.num_chunks,
                            .num_microbatches = microbatches_,
                            .rank_of_chunk = reference.rank_of_chunk,
                            .actions = std::vector<std::vector<Action>>(reference.actions.size())};
    }

    ListSchedule run()
    {
        take_turns_from_reference();
        for (std::size_t rank = 0; rank < live_.size(); ++rank)
            wake(rank, 0.0);
        while (!awake_.empty()) {
            const auto [time, rank] = awake_.top();
            awake_.pop();
            if (time >= clock_[rank]) // otherwise it is busy, and will be woken when it is not
                take_next(rank, time);
        }
        for (const ChunkProgress& done : progress_)
            SLUICE_CHECK(done.weights == microbatches_, done.weights << " of " << microbatches_);
        for (auto& actions : result_.schedule.actions)
            actions.push_back({ActionKind::optimizer_step, 0, 0});
        return std::move(result_);
    }

private:
    std::size_t rank_of(std::int32_t chunk) const
    {
        return static_cast<std::size_t>(reference_.rank_of_chunk[static_cast<std::size_t>(chunk)]);
    }
    void wake(std::size_t rank, double time) { awake_.emplace(time, rank); }

    void take_turns_from_reference()
    {
        const Simulation simulation = simulate(reference_, costs_);
        for (std::size_t rank = 0; rank < live_.size(); ++rank)
            for (std::size_t at = 0; at < reference_.actions[rank].size(); ++at) {
                const Action& action = reference_.actions[rank][at];
                const double start = simulation.times[rank][at].start;
                if (action.kind == ActionKind::forward)
                    forward_turn_[reference_.entry(action.chunk, action.microbatch)] = start;
                else if (action.kind == ActionKind::backward_input ||
                         action.kind == ActionKind::backward)
                    input_turn_[reference_.entry(action.chunk, action.microbatch)] = start;
                whole_ = whole_ || action.kind == ActionKind::backward;
            }
    }

    /// The best of what a rank could do next.
    struct Choice {
        Action action;
        double turn = never;
        bool any() const { return turn < never; }
    };

    void take_next(std::size_t rank, double now)
    {
        Choice best, weight;
        double next_input = never; // when something that is not there yet will be
        bool full = false;         // something is there that only waits for memory
        auto later_chunks = static_cast<std::int32_t>(chunks_of_rank_[rank].size());
        for (const std::int32_t c : chunks_of_rank_[rank]) {
            --later_chunks;
            const ChunkProgress& done = progress_[static_cast<std::size_t>(c)];
            const auto consider = [&](ActionKind kind, std::int32_t m, const Times& ready,
                                      const Times& turn) {
                const std::size_t at = reference_.entry(c, m);
                if (ready[at] > now)
                    next_input = std::min(next_input, ready[at]);
                else if (turn[at] < best.turn)
                    best = {{kind, c, m}, turn[at]};
            };
            if (done.forwards < microbatches_) {
                if (live_[rank] < options_.most_live - later_chunks)
                    consider(ActionKind::forward, done.forwards, forward_ready_, forward_turn_);
                else
                    full = full || forward_ready_[reference_.entry(c, done.forwards)] <= now;
            }
            if (done.inputs < done.forwards)
                consider(whole_ ? ActionKind::backward : ActionKind::backward_input, done.inputs,
                         input_ready_, input_turn_);
            if (done.weights < done.inputs) {
                const double turn =
                    input_turn_[reference_.entry(c, done.weights)] + options_.weight_delay;
                if (turn < weight.turn)
                    weight = {{ActionKind::backward_weight, c, done.weights}, turn};
            }
        }
        if (weight.any() &&
            (best.any() ? weight.turn < best.turn : full || fits(weight.action, next_input - now)))
            run_weight(rank, weight.action, now);
        else if (best.any())
            best.action.kind == ActionKind::forward ? run_forward(rank, best.action, now)
                                                    : run_input(rank, best.action, now);
        // Otherwise the rank sleeps until an input arrives.
    }

    const ChunkCosts& costs_of(const Action& action) const
    {
        return costs_[static_cast<std::size_t>(action.chunk)];
    }
    bool fits(const Action& weight, double gap) const
    {
        return gap >= options_.least_gap * costs_of(weight).backward_weight;
    }

    double append(std::size_t rank, const Action& action, double start)
    {
        result_.schedule.actions[rank].push_back(action);
        clock_[rank] = start + seconds_of(costs_of(action), action.kind);
        result_.total = std::max(result_.total, clock_[rank]);
        wake(rank, clock_[rank]);
        return clock_[rank];
    }

    /// The result of a chunk reaches its neighbour.
    void deliver(Times& ready, std::int32_t from, std::int32_t to, std::int32_t microbatch,
                 double end)
    {
        const bool travels = rank_of(from) != rank_of(to);
        const double arrival =
            end + (travels ? costs_[static_cast<std::size_t>(std::min(from, to))].transfer : 0.0);
        ready[reference_.entry(to, microbatch)] = arrival;
        wake(rank_of(to), arrival);
    }

    void run_forward(std::size_t rank, const Action& action, double now)
    {
        const std::int32_t c = action.chunk;
        ++progress_[static_cast<std::size_t>(c)].forwards;
        ++live_[rank];
        const double end = append(rank, action, now);
        if (c + 1 < reference_.num_chunks)
            deliver(forward_ready_, c, c + 1, action.microbatch, end);
        else
            input_ready_[reference_.entry(c, action.microbatch)] = end;
    }

    void run_input(std::size_t rank, const Action& action, double now)
    {
        const std::int32_t c = action.chunk;
        ++progress_[static_cast<std::size_t>(c)].inputs;
        if (whole_) {
            ++progress_[static_cast<std::size_t>(c)].weights;
            --live_[rank];
        }
        const double end = append(rank, action, now);
        if (c > 0)
            deliver(input_ready_, c, c - 1, action.microbatch, end);
    }

    void run_weight(std::size_t rank, const Action& action, double now)
    {
        ++progress_[static_cast<std::size_t>(action.chunk)].weights;
        --live_[rank];
        append(rank, action, now);
    }

    const Schedule& reference_;
    std::span<const ChunkCosts> costs_;
    const ListScheduling& options_;
    std::int32_t microbatches_;
    std::vector<ChunkProgress> progress_;                   ///< [chunk]
    std::vector<std::vector<std::int32_t>> chunks_of_rank_; ///< [rank], in the model's order
    std::vector<std::int32_t> live_;                        ///< [rank]: activations
    std::vector<double> clock_;                             ///< [rank]: busy until
    Times forward_turn_, input_turn_;                       ///< start in the reference
    Times forward_ready_, input_ready_;                     ///< when the input is there, or never
    using Wake = std::pair<double, std::size_t>;            ///< time, rank
    std::priority_queue<Wake, std::vector<Wake>, std::greater<>> awake_;
    bool whole_ = false; ///< backward passes
    ListSchedule result_;
};

} // namespace

ListSchedule schedule_by_list(const Schedule& reference, std::span<const ChunkCosts> costs,
                              const ListScheduling& options)
{
    SLUICE_CHECK(static_cast<std::int32_t>(costs.size()) == reference.num_chunks,
                 costs.size() << " costs for " << reference.num_chunks << " chunks");
    SLUICE_CHECK(options.most_live * reference.num_ranks() >= reference.num_chunks,
                 options.most_live << " live activations");
    return ListScheduler(reference, costs, options).run();
}

} // namespace sluice
