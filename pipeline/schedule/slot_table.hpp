// Which of a rank's buffers each micro-batch uses: settled before anything runs, shared by all
// chunks of the rank, and as few as the order of its actions allows.
//
// - An activation slot is taken from the forward to the end of the weight gradient.
// - An inbox slot holds an activation that comes from another rank, from the moment its receive is
//   POSTED until its forward has copied it: a receive posted early costs one [N,C] buffer, not a
//   slot with room for every layer's activations.
// - A gradient slot holds the gradient that comes in and the one that goes out. The incoming one is
//   taken from the moment its receive is posted (or from the start of the input gradient) to the
//   end of the weight gradient. The outgoing one is taken from the start of the input gradient to
//   the latest of: the end of the weight gradient; the previous chunk's start of its input
//   gradient, where that chunk is on the same rank and copies it; the moment its send completes,
//   where it travels.
// A send completes when its receive is posted (nothing is buffered on the way). When that is
// follows from a timeline in which forward, input gradient and weight gradient take one unit each
// and transfers none. Where real times differ, the executor waits for the last send out of a slot
// before it overwrites it: that may cost time but cannot deadlock, since the timeline is an
// execution in which nobody waits for a buffer.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

class SlotTable {
public:
    SlotTable() = default;
    SlotTable(std::int32_t num_ranks, std::int32_t num_chunks, std::int32_t num_microbatches);

    /// Index into the slots of the rank that owns `chunk`.
    std::int32_t activation(std::int32_t chunk, std::int32_t microbatch) const
    {
        return activation_[entry(chunk, microbatch)];
    }
    std::int32_t gradient(std::int32_t chunk, std::int32_t microbatch) const
    {
        return gradient_[entry(chunk, microbatch)];
    }
    /// -1 where the input does not travel.
    std::int32_t inbox(std::int32_t chunk, std::int32_t microbatch) const
    {
        return inbox_[entry(chunk, microbatch)];
    }

    /// How many slots each rank needs, [rank].
    std::vector<std::int32_t> num_activation_slots, num_gradient_slots, num_inbox_slots;

private:
    friend class SlotAssignment;
    friend SlotTable forward_only_slots(const Schedule& schedule);
    std::size_t entry(std::int32_t chunk, std::int32_t microbatch) const
    {
        return table_entry(chunk, microbatch, num_microbatches_);
    }

    std::int32_t num_microbatches_ = 0;
    std::vector<std::int32_t> activation_, gradient_, inbox_; ///< [chunk * M + m], -1: none
};

/// From when to when a micro-batch holds its gradient slot, collected while a timeline runs.
class GradientLifetimes {
public:
    explicit GradientLifetimes(const Schedule& schedule);
    /// A rank's actions must come in order, and times be whole numbers.
    void note(const Action& action, ActionTime time);

private:
    friend class SlotAssignment;
    void hold(std::int32_t chunk, std::int32_t microbatch, double until);

    const Schedule& schedule_;
    std::vector<double> taken_, free_; ///< [chunk * M + m], in units of the timeline
};

/// `schedule` must be complete and in order (action_order.hpp), and `lifetimes` hold all of it.
SlotTable assign_slots(const Schedule& schedule, const GradientLifetimes& lifetimes);

/// For a program of forwards only: each chunk has one slot of its own.
SlotTable forward_only_slots(const Schedule& schedule);

} // namespace sluice
