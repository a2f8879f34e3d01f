// Memory that a GPU can reach. Owned by one object, freed with it; taken before the first update,
// never inside one.
//
// CUDA need not wait for work that uses memory when the memory is freed: the owner does
// (core/wait_attendant.hpp).
#pragma once

#include <cstddef>
#include <memory>

namespace sluice {

/// On the current GPU (use_gpu), on a multiple of 256 bytes, not initialised.
class DeviceMemory {
public:
    DeviceMemory() = default;
    /// Throws UserError (usage) with wanted and free bytes when the memory is not there, or when
    /// there is no GPU.
    explicit DeviceMemory(std::size_t num_bytes);

    void* data() const { return owned_.get(); }
    std::size_t num_bytes() const { return num_bytes_; }
    /// It is never freed: work that nobody can wait for may still use it.
    void leave() { static_cast<void>(owned_.release()); }
    /// Sets every byte to 0; done on return.
    void clear() const;

private:
    struct Release {
        void operator()(void* memory) const;
    };
    std::unique_ptr<void, Release> owned_;
    std::size_t num_bytes_ = 0;
};

/// On the host, locked in place, so that copies to and from a GPU run beside other work.
class PinnedMemory {
public:
    PinnedMemory() = default;
    /// Throws as DeviceMemory does.
    explicit PinnedMemory(std::size_t num_bytes);

    void* data() const { return owned_.get(); }
    std::size_t num_bytes() const { return num_bytes_; }
    /// It is never freed: work that nobody can wait for may still use it.
    void leave() { static_cast<void>(owned_.release()); }

private:
    struct Release {
        void operator()(void* memory) const;
    };
    std::unique_ptr<void, Release> owned_;
    std::size_t num_bytes_ = 0;
};

} // namespace sluice
