// The memory that all chunks of one rank share: activation slots, gradient slots and scratch.
//
// Slots are all alike, each as large as the largest chunk needs, so any chunk may use any of them;
// a slot belongs to one micro-batch of one chunk at a time, by the promise of whoever runs the
// chunks. Scratch holds nothing from one call of a chunk to the next and no two chunks of a rank
// run at once, so one suffices.
#pragma once

#include "core/arena.hpp"

#include <cstddef>
#include <cstdint>

namespace sluice {

struct ChunkMemory;

struct PoolSizes {
    std::int64_t num_slots = 1;
    std::int64_t num_gradient_slots = 1; ///< 0 where no chunk trains
    std::size_t slot_bytes = 0;          ///< one activation slot
    std::size_t gradient_slot_bytes = 0; ///< one gradient slot
    std::size_t scratch_bytes = 0;

    std::size_t total_bytes() const
    {
        return static_cast<std::size_t>(num_slots) * slot_bytes +
               static_cast<std::size_t>(num_gradient_slots) * gradient_slot_bytes + scratch_bytes;
    }
    /// Grows the byte sizes to what this chunk needs.
    void fit(const ChunkMemory& chunk);
};

class ActivationPool {
public:
    /// Takes all memory at once. Throws UserError (usage) when it is not there.
    ActivationPool(const PoolSizes& sizes, Device device);

    const PoolSizes& sizes() const { return sizes_; }

    /// Fresh arenas on the memory of a slot and on the scratch: two calls give the same bytes.
    Arena slot(std::int64_t index) const;
    Arena gradient_slot(std::int64_t index) const;
    Arena scratch() const;

private:
    PoolSizes sizes_;
    Arena memory_;
};

} // namespace sluice
