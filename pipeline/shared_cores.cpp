#include "pipeline/shared_cores.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace sluice {

namespace {

/// Time goes from one end of an action to the next; between two, all that compute go on at one
/// rate.
class SharedCores {
public:
    SharedCores(const Schedule& schedule, std::span<const ChunkCosts> costs, int num_cores)
        : schedule_(schedule), costs_(costs), num_cores_(num_cores),
          ranks_(schedule.actions.size()), forward_done_(schedule.num_entries()),
          gradient_done_(schedule.num_entries())
    {
    }

    double run()
    {
        for (;;) {
            while (start_what_can_start()) {
            }
            double least = std::numeric_limits<double>::infinity();
            int num_computing = 0;
            for (const Rank& rank : ranks_)
                if (rank.computing) {
                    ++num_computing;
                    least = std::min(least, rank.remaining);
                }
            if (num_computing == 0)
                break;
            const double rate = std::min(1.0, static_cast<double>(num_cores_) / num_computing);
            time_ += least / rate;
            for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
                if (ranks_[rank].computing && (ranks_[rank].remaining -= least) <= 0.0)
                    finish(rank);
        }
        for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
            SLUICE_CHECK(ranks_[rank].next == schedule_.actions[rank].size(),
                         "rank " << rank << " is stuck at action " << ranks_[rank].next);
        return time_;
    }

private:
    struct Rank {
        std::size_t next = 0;
        double remaining = 0.0; ///< processor seconds of the action at `next`
        bool computing = false;
    };

    bool input_is_there(const Action& action) const
    {
        if (action.kind == ActionKind::forward)
            return action.chunk == 0 ||
                   forward_done_[schedule_.entry(action.chunk - 1, action.microbatch)];
        if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_input)
            return action.chunk == schedule_.num_chunks - 1 ||
                   gradient_done_[schedule_.entry(action.chunk + 1, action.microbatch)];
        return true;
    }

    bool all_at_barrier_or_done() const
    {
        for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
            const auto& actions = schedule_.actions[rank];
            if (ranks_[rank].next < actions.size() &&
                actions[ranks_[rank].next].kind != ActionKind::optimizer_step)
                return false;
        }
        return true;
    }

    /// True where some rank went on.
    bool start_what_can_start()
    {
        bool any = false;
        const bool barrier_open = all_at_barrier_or_done();
        for (std::size_t i = 0; i < ranks_.size(); ++i) {
            Rank& rank = ranks_[i];
            if (rank.computing || rank.next == schedule_.actions[i].size())
                continue;
            const Action& action = schedule_.actions[i][rank.next];
            if (!computes(action.kind)) {
                if (action.kind == ActionKind::optimizer_step && !barrier_open)
                    continue;
                ++rank.next;
                any = true;
            } else if (input_is_there(action)) {
                rank.remaining =
                    seconds_of(costs_[static_cast<std::size_t>(action.chunk)], action.kind);
                rank.computing = true;
            }
        }
        return any;
    }

    void finish(std::size_t index)
    {
        Rank& rank = ranks_[index];
        const Action& action = schedule_.actions[index][rank.next];
        if (action.kind == ActionKind::forward)
            forward_done_[schedule_.entry(action.chunk, action.microbatch)] = true;
        else if (action.kind != ActionKind::backward_weight)
            gradient_done_[schedule_.entry(action.chunk, action.microbatch)] = true;
        rank.computing = false;
        ++rank.next;
    }

    const Schedule& schedule_;
    std::span<const ChunkCosts> costs_;
    int num_cores_;
    double time_ = 0.0;
    std::vector<Rank> ranks_;
    std::vector<bool> forward_done_, gradient_done_; ///< [chunk * M + m]
};

} // namespace

double seconds_on_cores(const Schedule& schedule, std::span<const ChunkCosts> costs, int num_cores)
{
    SLUICE_CHECK(static_cast<std::int32_t>(costs.size()) == schedule.num_chunks,
                 costs.size() << " costs for " << schedule.num_chunks << " chunks");
    SLUICE_CHECK(num_cores >= 1, num_cores << " cores");
    return SharedCores(schedule, costs, num_cores).run();
}

} // namespace sluice
