#include "core/arena.hpp"

#include "core/cuda/gpu.hpp"
#include "core/error.hpp"

#include <cstdlib>
#include <cstring>

namespace sluice {

void Arena::Release::operator()(std::byte* memory) const { std::free(memory); }

Arena::Arena(std::size_t capacity_bytes, Device device) : device_(device)
{
    // One extra block keeps an arena of nothing distinct from one that only counts.
    capacity_bytes_ = aligned_bytes(capacity_bytes) + arena_alignment_bytes;
    if (device.kind == DeviceKind::cuda) {
        use_gpu(device.index);
        device_memory_ = DeviceMemory(capacity_bytes_);
        device_memory_.clear();
        begin_ = static_cast<std::byte*>(device_memory_.data());
        return;
    }
    void* memory = std::aligned_alloc(arena_alignment_bytes, capacity_bytes_);
    if (memory == nullptr)
        throw usage_error(
            "cannot reserve " + std::to_string(capacity_bytes_ >> 20) +
                " MiB of memory on this rank",
            "", "take a smaller micro-batch or a smaller model; in training, or more stages");
    std::memset(memory, 0, capacity_bytes_);
    host_memory_.reset(static_cast<std::byte*>(memory));
    begin_ = host_memory_.get();
}

TensorView Arena::allocate(DType dtype, const Shape& shape)
{
    const std::size_t bytes =
        aligned_bytes(static_cast<std::size_t>(shape.num_elements()) * size_of(dtype));
    TensorView view{nullptr, dtype, shape, device_};
    if (!counting_only()) {
        SLUICE_CHECK(used_bytes_ + bytes <= capacity_bytes_,
                     "used " << used_bytes_ << " + " << bytes << " of " << capacity_bytes_);
        view.data = begin_ + used_bytes_;
    }
    used_bytes_ += bytes;
    return view;
}

Arena Arena::window(std::size_t begin, std::size_t num_bytes) const
{
    SLUICE_CHECK(!counting_only() && begin % arena_alignment_bytes == 0 &&
                     begin + num_bytes <= capacity_bytes_,
                 "bytes " << begin << " to " << begin + num_bytes << " of " << capacity_bytes_);
    Arena made;
    made.begin_ = begin_ + begin;
    made.capacity_bytes_ = num_bytes;
    made.device_ = device_;
    return made;
}

} // namespace sluice
