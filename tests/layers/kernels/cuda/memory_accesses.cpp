// What GCC and Clang call at every access to memory in code compiled with -fsanitize=thread. In
// place of that sanitizer's own library, which knows threads of the system but not fibers: here the
// executor is told, which knows who is running (race_checker.hpp).
#include "tests/layers/kernels/cuda/block_executor.hpp"

namespace {

using sluice::testing::BlockExecutor;

void note(const void* memory, std::size_t num_bytes, bool write, const void* place)
{
    if (BlockExecutor* executor = BlockExecutor::running(); executor != nullptr)
        executor->note_access(memory, num_bytes, write, place);
}

} // namespace

// NOLINTBEGIN: names that compilers know
#define SLUICE_NOTE(NAME, NUM_BYTES, WRITE)                                                        \
    void NAME(void* memory) { note(memory, NUM_BYTES, WRITE, __builtin_return_address(0)); }
#define SLUICE_NOTE_SIZE(NUM_BYTES)                                                                \
    SLUICE_NOTE(__tsan_read##NUM_BYTES, NUM_BYTES, false)                                          \
    SLUICE_NOTE(__tsan_write##NUM_BYTES, NUM_BYTES, true)                                          \
    SLUICE_NOTE(__tsan_unaligned_read##NUM_BYTES, NUM_BYTES, false)                                \
    SLUICE_NOTE(__tsan_unaligned_write##NUM_BYTES, NUM_BYTES, true)

extern "C" {

SLUICE_NOTE_SIZE(1)
SLUICE_NOTE_SIZE(2)
SLUICE_NOTE_SIZE(4)
SLUICE_NOTE_SIZE(8)
SLUICE_NOTE_SIZE(16)

void __tsan_read_range(void* memory, std::size_t num_bytes)
{
    note(memory, num_bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* memory, std::size_t num_bytes)
{
    note(memory, num_bytes, true, __builtin_return_address(0));
}

// What Boost.Test counts references by. Kernels have no atomics.
std::uint32_t __tsan_atomic32_fetch_add(std::uint32_t* at, std::uint32_t by, int)
{
    return __atomic_fetch_add(at, by, __ATOMIC_SEQ_CST);
}
std::uint32_t __tsan_atomic32_fetch_sub(std::uint32_t* at, std::uint32_t by, int)
{
    return __atomic_fetch_sub(at, by, __ATOMIC_SEQ_CST);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void*) {}
void __tsan_vptr_update(void*, void*) {}
}
// NOLINTEND
