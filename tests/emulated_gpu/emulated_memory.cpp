#include "tests/emulated_gpu/emulated_memory.hpp"

#include "core/error.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <execinfo.h>
#include <numeric>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice::testing {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t alignment = 256; // as cudaMalloc
const char* running = "nothing";

std::size_t rounded_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

std::size_t number_in(const char* variable, std::size_t otherwise)
{
    const char* text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

struct sigaction others_handler;

void print_backtrace()
{
    void* frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
}

void on_fault(int number, siginfo_t* info, void* context)
{
    if (EmulatedMemory::of_process().explain(info->si_addr)) {
        print_backtrace();
        std::signal(number, SIG_DFL); // and die of it when this returns
    } else if ((others_handler.sa_flags & SA_SIGINFO) != 0) {
        others_handler.sa_sigaction(number, info, context);
    } else {
        std::signal(number, SIG_DFL);
    }
}

/// With every block anew: MPI and the tests' library put up handlers of their own.
void watch_for_faults()
{
    struct sigaction ours = {}, before = {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &ours, &before);
    if ((before.sa_flags & SA_SIGINFO) == 0 || before.sa_sigaction != on_fault)
        others_handler = before;
}

/// The `inside` bytes of a block between its pages that nobody may touch, anew: shared with a
/// mapping that is always open.
void map_twice(MemoryBlock& block, std::size_t inside)
{
    const int memory = memfd_create("emulated GPU", MFD_CLOEXEC);
    SLUICE_CHECK(memory >= 0 && ftruncate(memory, static_cast<off_t>(inside)) == 0,
                 "no memory to map twice");
    void* closed = mmap(block.mapping + page, inside, PROT_NONE,
                        MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memory, 0);
    void* open =
        mmap(nullptr, inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory, 0);
    close(memory);
    SLUICE_CHECK(closed != MAP_FAILED && open != MAP_FAILED, "memory cannot be mapped twice");
    block.open_mapping = static_cast<std::byte*>(open);
    block.open = block.open_mapping + (block.begin - block.mapping - page);
}

} // namespace

int num_emulated_gpus() { return static_cast<int>(number_in("SLUICE_EMULATED_GPUS", 1)); }

std::vector<int> visible_emulated_gpus()
{
    const char* variable = std::getenv("CUDA_VISIBLE_DEVICES");
    std::vector<int> numbers;
    if (variable == nullptr) {
        numbers.resize(static_cast<std::size_t>(num_emulated_gpus()));
        std::iota(numbers.begin(), numbers.end(), 0);
        return numbers;
    }
    std::istringstream list(variable);
    for (std::string entry; std::getline(list, entry, ',');) {
        char* end = nullptr;
        const long number = std::strtol(entry.c_str(), &end, 10);
        if (end == entry.c_str() || *end != '\0' || number < 0 || number >= num_emulated_gpus())
            break;
        if (std::ranges::find(numbers, number) != numbers.end())
            return {};
        numbers.push_back(static_cast<int>(number));
    }
    return numbers;
}

std::string emulated_pci_bus(int gpu)
{
    return "0000:0" + std::to_string(number_in("SLUICE_EMULATED_MIG", 0) != 0 ? 0 : gpu) + ":00.0";
}

EmulatedKind kind_of_emulated_gpu(int number)
{
    EmulatedKind kind;
    const char* variable = std::getenv("SLUICE_EMULATED_GPU_KINDS");
    std::istringstream list(variable == nullptr ? "" : variable);
    std::string entry;
    for (int i = 0; i <= number && std::getline(list, entry, ','); ++i) {
        kind = {};
        kind.name = entry.substr(0, entry.find(':'));
        if (const auto colon = entry.find(':'); colon != std::string::npos)
            std::sscanf(entry.c_str() + colon, ":%d.%d", &kind.major, &kind.minor);
    }
    return kind;
}

int emulated_old_driver() { return static_cast<int>(number_in("SLUICE_EMULATED_DRIVER", 0)); }

bool emulated_mpi_takes_gpu_memory() { return number_in("SLUICE_EMULATED_CUDA_AWARE_MPI", 0) != 0; }

std::size_t emulated_gpu_bytes()
{
    return number_in("SLUICE_EMULATED_GPU_BYTES", std::size_t{2} << 30);
}

std::size_t emulated_code_bytes() { return number_in("SLUICE_EMULATED_CODE_BYTES", 0); }

void die(const std::string& why)
{
    std::fprintf(stderr, "emulated GPU: %s\n", why.c_str());
    print_backtrace();
    std::signal(SIGABRT, SIG_DFL); // the tests' library would go on
    std::abort();
}

int& current_emulated_gpu()
{
    thread_local int current = 0;
    return current;
}

EmulatedMemory& EmulatedMemory::of_process()
{
    static auto* memory = new EmulatedMemory; // never destroyed: statics may hold blocks
    return *memory;
}

void* EmulatedMemory::allocate(int gpu, std::size_t num_bytes, FreshMemory fresh)
{
    const std::scoped_lock lock(mutex_);
    watch_for_faults();
    if (num_bytes > free_bytes(gpu))
        return nullptr;
    const std::size_t taken = rounded_up(num_bytes, alignment);
    const std::size_t inside = std::max(page, rounded_up(taken, page));
    MemoryBlock block{.begin = nullptr,
                      .num_bytes = num_bytes,
                      .gpu = gpu,
                      .mapping = nullptr,
                      .mapping_bytes = inside + 2 * page};
    void* mapping = mmap(nullptr, block.mapping_bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return nullptr;
    block.mapping = static_cast<std::byte*>(mapping);
    block.begin = block.mapping + page + inside - taken;
    if (emulated_mpi_takes_gpu_memory())
        map_twice(block, inside);
    // Opening and closing a GPU's memory then goes by 2 MiB at a time instead of by 4 KiB.
    madvise(block.mapping + page, inside, MADV_HUGEPAGE);
    mprotect(block.mapping + page, inside, PROT_READ | PROT_WRITE);
    if (fresh == FreshMemory::poisoned)
        std::memset(block.begin, 0xff, num_bytes);
    if (!open_)
        mprotect(block.mapping + page, inside, PROT_NONE);
    blocks_.push_back(block);
    return block.begin;
}

void* EmulatedMemory::allocate_pinned(std::size_t num_bytes)
{
    const std::scoped_lock lock(mutex_);
    const std::size_t bytes = std::max(page, rounded_up(num_bytes, page));
    void* mapping =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return nullptr;
    madvise(mapping, bytes, MADV_HUGEPAGE);
    std::memset(mapping, 0xff, num_bytes);
    auto* begin = static_cast<std::byte*>(mapping);
    blocks_.push_back({.begin = begin,
                       .num_bytes = num_bytes,
                       .gpu = -1,
                       .mapping = begin,
                       .mapping_bytes = bytes});
    return begin;
}

void EmulatedMemory::release(void* begin)
{
    const std::scoped_lock lock(mutex_);
    const auto at = std::ranges::find(blocks_, begin, &MemoryBlock::begin);
    SLUICE_CHECK(at != blocks_.end(), "no emulated memory begins there");
    munmap(at->mapping, at->mapping_bytes);
    if (at->open_mapping != nullptr)
        munmap(at->open_mapping, at->mapping_bytes - 2 * page);
    blocks_.erase(at);
}

std::size_t EmulatedMemory::free_bytes(int gpu) const
{
    const std::scoped_lock lock(mutex_);
    std::size_t used = 0;
    for (const MemoryBlock& block : blocks_)
        used += block.gpu == gpu ? rounded_up(block.num_bytes, alignment) : 0;
    return emulated_gpu_bytes() - std::min(used, emulated_gpu_bytes());
}

std::optional<MemoryBlock> EmulatedMemory::find(const void* address, std::size_t num_bytes) const
{
    const std::scoped_lock lock(mutex_);
    const auto* begin = static_cast<const std::byte*>(address);
    for (const MemoryBlock& block : blocks_) {
        if (begin < block.begin || begin >= block.begin + block.num_bytes)
            continue;
        const auto left = static_cast<std::size_t>(block.begin + block.num_bytes - begin);
        if (num_bytes > left)
            throw EmulationError(std::to_string(num_bytes) + " bytes, where " +
                                 std::to_string(left) + " are left of a block of " +
                                 std::to_string(block.num_bytes));
        return block;
    }
    return std::nullopt;
}

void* EmulatedMemory::for_mpi(void* address, std::size_t num_bytes) const
{
    const auto block = find(address, num_bytes);
    if (!block || block->gpu < 0 || block->open == nullptr)
        return address;
    return block->open + (static_cast<std::byte*>(address) - block->begin);
}

bool EmulatedMemory::explain(const void* address) const
{
    const auto* at = static_cast<const std::byte*>(address);
    for (const MemoryBlock& block : blocks_) { // no lock: this process is dying
        if (block.gpu < 0 || at < block.mapping || at >= block.mapping + block.mapping_bytes)
            continue;
        const auto byte = static_cast<long>(at - block.begin);
        if (open_)
            std::fprintf(stderr,
                         "emulated GPU: %s touched byte %ld of a block of %zu bytes of GPU %d\n",
                         running, byte, block.num_bytes, block.gpu);
        else
            std::fprintf(stderr,
                         "emulated GPU: the host touched memory of GPU %d: byte %ld of a block of "
                         "%zu bytes; copy it with GpuStream::copy\n",
                         block.gpu, byte, block.num_bytes);
        return true;
    }
    return false;
}

void EmulatedMemory::protect(int protection) const
{
    for (const MemoryBlock& block : blocks_)
        if (block.gpu >= 0)
            mprotect(block.mapping + page, block.mapping_bytes - 2 * page, protection);
}

DeviceAccess::DeviceAccess()
{
    EmulatedMemory& memory = EmulatedMemory::of_process();
    const std::scoped_lock lock(memory.mutex_);
    memory.open_ = true;
    memory.protect(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess()
{
    EmulatedMemory& memory = EmulatedMemory::of_process();
    const std::scoped_lock lock(memory.mutex_);
    memory.protect(PROT_NONE);
    memory.open_ = false;
}

void DeviceAccess::say(const char* what) { running = what; }

} // namespace sluice::testing
