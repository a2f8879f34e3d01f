// Memory sized once, before the first update, and handed out in order. Nothing inside an update
// allocates: whatever a stage needs is taken from its arenas while it is built.
#pragma once

#include "core/cuda/memory.hpp"
#include "core/tensor_view.hpp"

#include <cstddef>
#include <memory>

namespace sluice {

/// Every allocation starts on a multiple of this.
inline constexpr std::size_t arena_alignment_bytes = 64;

constexpr std::size_t aligned_bytes(std::size_t bytes)
{
    return (bytes + arena_alignment_bytes - 1) / arena_alignment_bytes * arena_alignment_bytes;
}

class Arena {
public:
    /// An empty arena that only counts: allocate() returns views with null data, used_bytes() says
    /// what a real one needs. The planner builds the same objects on it.
    Arena() = default;
    /// Reserves and zeroes `capacity_bytes` on `device`. Throws UserError (usage) with the numbers
    /// when the memory is not there.
    Arena(std::size_t capacity_bytes, Device device);

    TensorView allocate(DType dtype, const Shape& shape);
    /// Bytes [begin, begin + num_bytes) of this one as an arena of its own, which must not outlive
    /// this one. Whoever holds it may write what somebody else wrote there: nothing is taken.
    /// `begin` is a multiple of the alignment.
    Arena window(std::size_t begin, std::size_t num_bytes) const;

    std::size_t used_bytes() const { return used_bytes_; }
    std::size_t capacity_bytes() const { return capacity_bytes_; }
    bool counting_only() const { return begin_ == nullptr; }

private:
    struct Release {
        void operator()(std::byte* memory) const;
    };
    /// One of them, or none for a window.
    std::unique_ptr<std::byte, Release> host_memory_;
    DeviceMemory device_memory_;
    std::byte* begin_ = nullptr;
    std::size_t capacity_bytes_ = 0;
    std::size_t used_bytes_ = 0;
    Device device_{};
};

} // namespace sluice
