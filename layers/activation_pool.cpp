#include "layers/activation_pool.hpp"

#include "layers/model_chunk.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Slots lie behind one another, so each must end where the next may begin.
PoolSizes aligned(PoolSizes sizes)
{
    SLUICE_CHECK(sizes.num_slots > 0 && sizes.num_gradient_slots >= 0 &&
                     (sizes.num_gradient_slots > 0 || sizes.gradient_slot_bytes == 0),
                 sizes.num_slots << " slots, " << sizes.num_gradient_slots << " gradient slots");
    sizes.slot_bytes = aligned_bytes(sizes.slot_bytes);
    sizes.gradient_slot_bytes = aligned_bytes(sizes.gradient_slot_bytes);
    sizes.scratch_bytes = aligned_bytes(sizes.scratch_bytes);
    return sizes;
}

} // namespace

void PoolSizes::fit(const ChunkMemory& chunk)
{
    slot_bytes = std::max(slot_bytes, chunk.slot_bytes);
    gradient_slot_bytes = std::max(gradient_slot_bytes, chunk.gradient_slot_bytes);
    scratch_bytes = std::max(scratch_bytes, chunk.scratch_bytes);
}

ActivationPool::ActivationPool(const PoolSizes& sizes, Device device)
    : sizes_(aligned(sizes)), memory_(sizes_.total_bytes(), device)
{
}

Arena ActivationPool::slot(std::int64_t index) const
{
    SLUICE_CHECK(index >= 0 && index < sizes_.num_slots,
                 "slot " << index << " of " << sizes_.num_slots);
    return memory_.window(static_cast<std::size_t>(index) * sizes_.slot_bytes, sizes_.slot_bytes);
}

Arena ActivationPool::gradient_slot(std::int64_t index) const
{
    SLUICE_CHECK(index >= 0 && index < sizes_.num_gradient_slots,
                 "gradient slot " << index << " of " << sizes_.num_gradient_slots);
    const std::size_t slots = static_cast<std::size_t>(sizes_.num_slots) * sizes_.slot_bytes;
    return memory_.window(slots + static_cast<std::size_t>(index) * sizes_.gradient_slot_bytes,
                          sizes_.gradient_slot_bytes);
}

Arena ActivationPool::scratch() const
{
    return memory_.window(sizes_.total_bytes() - sizes_.scratch_bytes, sizes_.scratch_bytes);
}

} // namespace sluice
