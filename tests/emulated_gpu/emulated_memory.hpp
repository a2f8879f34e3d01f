// The memory of emulated GPUs, and the pinned memory of the host, in this process.
//
// Memory of a GPU is closed: it can be touched only while a DeviceAccess lives, which is while a
// kernel or a copy runs. Host code that touches it dies at once (SIGSEGV) and says why, and so does
// a kernel that goes past the end of a block. Fresh memory is full of NaNs. What an emulated
// CUDA-aware MPI needs (emulated_mpi.cpp) is a second mapping of the same memory, open at any time.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sluice::testing {

/// SLUICE_EMULATED_GPUS, 1 without it: those of the machine.
int num_emulated_gpus();
/// Their numbers, in the order in which this process sees them. As CUDA reads CUDA_VISIBLE_DEVICES:
/// a list of numbers of which those before the first that names no GPU count, and none where one
/// comes twice. (Names that are not numbers name no GPU here.)
std::vector<int> visible_emulated_gpus();
/// Of GPU `number` of the machine: from SLUICE_EMULATED_GPU_KINDS, names with or without a compute
/// capability, like "fast GPU:9.0,slow GPU"; the last goes for all behind it.
struct EmulatedKind {
    std::string name = "emulated GPU";
    int major = 8, minor = 0;
};
EmulatedKind kind_of_emulated_gpu(int number);
/// SLUICE_EMULATED_DRIVER, a version like 12020: where it is given the driver is too old.
int emulated_old_driver();
/// SLUICE_EMULATED_GPU_BYTES, 2 GiB without it.
std::size_t emulated_gpu_bytes();
/// SLUICE_EMULATED_CODE_BYTES, 0 without it: what loading one kernel takes.
std::size_t emulated_code_bytes();
/// One for all with SLUICE_EMULATED_MIG=1.
std::string emulated_pci_bus(int gpu);
/// SLUICE_EMULATED_CUDA_AWARE_MPI=1.
bool emulated_mpi_takes_gpu_memory();
/// Of the calling thread, as cudaSetDevice leaves it: 0 at first, in every thread.
int& current_emulated_gpu();

/// Says why on standard error, with a backtrace, where nothing can be thrown.
[[noreturn]] void die(const std::string& why);

struct MemoryBlock {
    std::byte* begin = nullptr;
    std::size_t num_bytes = 0;
    int gpu = -1; ///< -1: pinned memory of the host
    std::byte* mapping = nullptr;
    std::size_t mapping_bytes = 0; ///< with a page before and behind that nobody may touch
    std::byte* open = nullptr;     ///< the same memory as at `begin`, for MPI alone; or null
    std::byte* open_mapping = nullptr;
};

/// `untouched` is for memory that is poisoned before every use: it costs no pages.
enum class FreshMemory { poisoned, untouched };

class EmulatedMemory {
public:
    static EmulatedMemory& of_process();

    /// Null where the GPU has not so many bytes left. Begins on a multiple of 256; ends, but for
    /// what that leaves, where memory ends.
    void* allocate(int gpu, std::size_t num_bytes, FreshMemory fresh = FreshMemory::poisoned);
    void* allocate_pinned(std::size_t num_bytes);
    void release(void* begin);
    std::size_t free_bytes(int gpu) const;
    /// The block that `address` lies in. Throws EmulationError when [address, address + num_bytes)
    /// begins in a block and ends outside.
    std::optional<MemoryBlock> find(const void* address, std::size_t num_bytes) const;

    /// Where MPI reaches what lies at `address`: that itself where it is not memory of a GPU, or
    /// where this MPI does not take such memory.
    void* for_mpi(void* address, std::size_t num_bytes) const;

    /// Says on standard error why `address` could not be touched; false when it is none of ours.
    bool explain(const void* address) const;

private:
    friend class DeviceAccess;
    void protect(int protection) const;

    mutable std::recursive_mutex mutex_;
    std::vector<MemoryBlock> blocks_;
    bool open_ = false;
};

/// Opens the memory of all GPUs while it lives; one at a time.
class DeviceAccess {
public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
    DeviceAccess& operator=(const DeviceAccess&) = delete;
    /// What is running now, for explain().
    static void say(const char* what);
};

} // namespace sluice::testing
