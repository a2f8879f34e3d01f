#include "pipeline/schedule/slot_table.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <queue>
#include <utility>

namespace sluice {

namespace {

constexpr double not_taken = -1.0;

/// The slots of one kind on one rank. Giving back the one used last keeps caches warm.
class FreeSlots {
public:
    std::int32_t take()
    {
        if (free_.empty())
            return count_++;
        const std::int32_t slot = free_.back();
        free_.pop_back();
        return slot;
    }
    void give_back(std::int32_t slot) { free_.push_back(slot); }
    std::int32_t count() const { return count_; }

private:
    std::vector<std::int32_t> free_;
    std::int32_t count_ = 0;
};

/// Slots that come back at known times.
class TimedSlots {
public:
    std::int32_t take(double now, double until)
    {
        while (!busy_.empty() && busy_.top().first <= now) {
            free_.give_back(busy_.top().second);
            busy_.pop();
        }
        const std::int32_t slot = free_.take();
        busy_.push({until, slot});
        return slot;
    }
    std::int32_t count() const { return free_.count(); }

private:
    using Busy = std::pair<double, std::int32_t>; // until when, slot
    std::priority_queue<Busy, std::vector<Busy>, std::greater<>> busy_;
    FreeSlots free_;
};

} // namespace

SlotTable::SlotTable(std::int32_t num_ranks, std::int32_t num_chunks, std::int32_t num_microbatches)
    : num_activation_slots(static_cast<std::size_t>(num_ranks), 0),
      num_gradient_slots(num_activation_slots), num_inbox_slots(num_activation_slots),
      num_microbatches_(num_microbatches),
      activation_(table_entry(num_chunks, 0, num_microbatches), -1), gradient_(activation_),
      inbox_(activation_)
{
}

GradientLifetimes::GradientLifetimes(const Schedule& schedule)
    : schedule_(schedule), taken_(schedule.num_entries(), not_taken), free_(taken_)
{
}

void GradientLifetimes::hold(std::int32_t chunk, std::int32_t microbatch, double until)
{
    double& free = free_[schedule_.entry(chunk, microbatch)];
    free = std::max(free, until);
}

void GradientLifetimes::note(const Action& action, ActionTime time)
{
    const std::int32_t c = action.chunk, m = action.microbatch;
    const auto take = [&] {
        double& taken = taken_[schedule_.entry(c, m)];
        if (taken == not_taken)
            taken = time.start;
    };
    switch (action.kind) {
    case ActionKind::receive_gradient:
        take();
        // The send to here completes now at the earliest; strictly later than whatever else happens
        // at this moment, or two ranks could wait for one another's receives.
        hold(c + 1, m, time.start + 0.25);
        break;
    case ActionKind::send_gradient: hold(c, m, time.start); break;
    case ActionKind::backward:
    case ActionKind::backward_input:
        take();
        hold(c, m, time.end);
        // The next chunk's input gradient has been copied when this one has begun.
        if (c + 1 < schedule_.num_chunks && !schedule_.crosses(c))
            hold(c + 1, m, 0.5 * (time.start + time.end));
        break;
    case ActionKind::backward_weight: hold(c, m, time.end); break;
    default: break;
    }
}

class SlotAssignment {
public:
    SlotAssignment(const Schedule& schedule, const GradientLifetimes& lifetimes)
        : schedule_(schedule), lifetimes_(lifetimes),
          table_(schedule.num_ranks(), schedule.num_chunks, schedule.num_microbatches)
    {
    }

    SlotTable run()
    {
        for (std::size_t rank = 0; rank < schedule_.actions.size(); ++rank)
            assign_rank(rank);
        return std::move(table_);
    }

private:
    void assign_rank(std::size_t rank)
    {
        FreeSlots activations, inbox;
        TimedSlots gradients;
        for (const Action& action : schedule_.actions[rank]) {
            const std::size_t at = table_.entry(action.chunk, action.microbatch);
            switch (action.kind) {
            case ActionKind::receive_activation: table_.inbox_[at] = inbox.take(); break;
            case ActionKind::forward:
                table_.activation_[at] = activations.take();
                if (table_.inbox_[at] >= 0)
                    inbox.give_back(table_.inbox_[at]);
                break;
            case ActionKind::receive_gradient: take_gradient(gradients, at); break;
            case ActionKind::backward:
            case ActionKind::backward_input:
                if (table_.gradient_[at] < 0)
                    take_gradient(gradients, at);
                if (action.kind == ActionKind::backward)
                    activations.give_back(table_.activation_[at]);
                break;
            case ActionKind::backward_weight: activations.give_back(table_.activation_[at]); break;
            default: break;
            }
        }
        table_.num_activation_slots[rank] = activations.count();
        table_.num_inbox_slots[rank] = inbox.count();
        table_.num_gradient_slots[rank] = gradients.count();
    }

    void take_gradient(TimedSlots& gradients, std::size_t at)
    {
        table_.gradient_[at] = gradients.take(lifetimes_.taken_[at], lifetimes_.free_[at]);
    }

    const Schedule& schedule_;
    const GradientLifetimes& lifetimes_;
    SlotTable table_;
};

SlotTable assign_slots(const Schedule& schedule, const GradientLifetimes& lifetimes)
{
    return SlotAssignment(schedule, lifetimes).run();
}

SlotTable forward_only_slots(const Schedule& schedule)
{
    SlotTable table(schedule.num_ranks(), schedule.num_chunks, schedule.num_microbatches);
    for (std::int32_t c = 0; c < schedule.num_chunks; ++c) {
        const auto rank = static_cast<std::size_t>(schedule.rank_of_chunk[c]);
        const std::int32_t slot = table.num_activation_slots[rank]++;
        const bool travels = schedule.crosses(c - 1);
        for (std::int32_t m = 0; m < schedule.num_microbatches; ++m) {
            table.activation_[table.entry(c, m)] = slot;
            if (travels)
                table.inbox_[table.entry(c, m)] = 0;
        }
        if (travels)
            table.num_inbox_slots[rank] = 1;
    }
    return table;
}

} // namespace sluice
