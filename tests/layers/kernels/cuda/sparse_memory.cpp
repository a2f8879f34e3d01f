#include "tests/layers/kernels/cuda/sparse_memory.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice::testing {

const std::size_t SparseMemory::page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

namespace {

/// Where any 32-bit number leads that counts up to eight elements of up to 4 bytes each.
constexpr std::size_t margin = std::size_t{64} << 30;

std::size_t whole_pages(std::size_t num_bytes)
{
    return (num_bytes + SparseMemory::page - 1) / SparseMemory::page * SparseMemory::page;
}

struct sigaction others_handler;

} // namespace

/// What the handler knows. It runs where a kernel touches memory, in the middle of nothing that
/// changes this.
struct Strays {
    static constexpr std::size_t most_told = 8;

    static inline std::vector<const SparseMemory*> memories;
    static inline std::size_t count = 0;
    static inline std::byte* places[most_told];

    static const SparseMemory* memory_of(const std::byte* place)
    {
        for (const SparseMemory* memory : memories)
            if (memory->reserves(place))
                return memory;
        return nullptr;
    }

    static void on_fault(int number, siginfo_t* info, void*)
    {
        auto* const place = static_cast<std::byte*>(info->si_addr);
        if (memory_of(place) == nullptr) {
            sigaction(number, &others_handler, nullptr); // and to that one when this returns
            return;
        }
        if (count < most_told)
            places[count] = place;
        ++count;
        auto* const begin = place - std::bit_cast<std::uintptr_t>(place) % SparseMemory::page;
        if (mprotect(begin, SparseMemory::page, PROT_READ | PROT_WRITE) != 0)
            _exit(1); // or it would come here for good
    }

    /// With the first memory: the tests' library puts up a handler of its own for each test.
    static void add(const SparseMemory* memory)
    {
        if (memories.empty()) {
            struct sigaction ours = {};
            ours.sa_sigaction = on_fault;
            ours.sa_flags = SA_SIGINFO | SA_NODEFER;
            sigaction(SIGSEGV, &ours, &others_handler);
        }
        memories.push_back(memory);
    }
    static void remove(const SparseMemory* memory)
    {
        std::erase(memories, memory);
        if (memories.empty())
            sigaction(SIGSEGV, &others_handler, nullptr);
    }
};

SparseMemory::SparseMemory(std::size_t num_bytes)
    : mapped_bytes_(whole_pages(num_bytes) + 2 * margin), num_bytes_(num_bytes)
{
    // Private and closed: neither memory nor a promise of it (vm.overcommit_memory) is taken.
    void* mapping =
        mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SLUICE_CHECK(mapping != MAP_FAILED, mapped_bytes_ << " bytes of addresses are not to be had");
    mapping_ = static_cast<std::byte*>(mapping);
    data_ = mapping_ + margin;
    Strays::add(this);
}

SparseMemory::~SparseMemory()
{
    Strays::remove(this);
    munmap(mapping_, mapped_bytes_);
}

void SparseMemory::open(std::size_t offset, std::size_t num_bytes)
{
    const std::size_t begin = offset / page * page, end = whole_pages(offset + num_bytes);
    SLUICE_CHECK(end <= whole_pages(num_bytes_), "bytes up to " << end << " of " << num_bytes_);
    const bool opened = mprotect(data_ + begin, end - begin, PROT_READ | PROT_WRITE) == 0;
    SLUICE_CHECK(opened, end - begin << " bytes cannot be opened");
}

bool SparseMemory::reserves(const std::byte* place) const
{
    return place >= mapping_ && place < mapping_ + mapped_bytes_;
}

std::vector<std::string> SparseMemory::take_strays()
{
    std::vector<std::string> told;
    for (std::size_t i = 0; i < std::min(Strays::count, Strays::most_told); ++i) {
        const SparseMemory* memory = Strays::memory_of(Strays::places[i]);
        told.push_back("byte " + std::to_string(Strays::places[i] - memory->data_) +
                       " of a tensor of " + std::to_string(memory->num_bytes_));
    }
    if (Strays::count > told.size())
        told.push_back(std::to_string(Strays::count - told.size()) + " more");
    Strays::count = 0;
    return told;
}

} // namespace sluice::testing
