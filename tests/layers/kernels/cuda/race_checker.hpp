// Finds races in emulated kernels: two accesses to the same memory, one of them a write, that
// nothing orders, whatever the order was in which they happened to come. It sees every access of
// every thread, so one run of a kernel suffices.
//
// What orders two accesses is what CUDA promises (CUDA C++ Programming Guide, "Synchronization
// Functions", "Warp Shuffle Functions"; PTX ISA, "cp.async"), and nothing else:
//   - the same thread did both; or a barrier of the block lies between, or one of the warp if both
//     threads are its own. Shuffles, votes and matrix operations order no memory;
//   - one launch came after the other. Blocks of one launch are in no order;
//   - a copy to shared memory writes at any time between its start and its thread's wait for it.
//     Nobody, its own thread included, may touch that memory before; others need a barrier after.
// Shared memory that is read before its block wrote it is reported likewise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace sluice::testing {

/// Who accesses memory, and when: the barriers that the thread has passed so far.
struct Moment {
    std::uint32_t block = 0; ///< counted over all launches, from 1; 0: never
    std::uint16_t barriers = 0, warp_barriers = 0;
    std::uint16_t thread = 0;
    bool copy_under_way = false;
    /// Read since the last barrier, or warp barrier, by others too; or by its launch's other
    /// blocks.
    bool other_lanes : 1 = false, other_warps : 1 = false, other_blocks : 1 = false;
    std::uint32_t place = 0; ///< code_offset() of an address behind the access
};

class RaceChecker {
public:
    void begin_launch() { first_of_launch_ = num_blocks_ + 1; }
    /// The block's number, for its moments. Its shared memory starts unwritten.
    std::uint32_t begin_block(const void* shared, std::size_t shared_bytes);

    void read(const void* from, std::size_t num_bytes, const Moment& moment);
    void write(const void* to, std::size_t num_bytes, const Moment& moment);
    /// A copy of the moment's thread starts and, later, has been waited for.
    void begin_copy(void* to, std::size_t num_bytes, const Moment& moment);
    void end_copy(void* to, std::size_t num_bytes, const Moment& moment);

    /// What came first since the last call, in words with the places in the source, or nothing.
    std::string take_race();

private:
    /// Of two bytes of memory: the smallest elements have as many.
    struct Cell {
        Moment write, read; ///< the last ones; no read since the write: `read` is empty
    };
    static constexpr std::size_t cell_bytes = 2, page_bytes = 4096;
    using Page = std::array<Cell, page_bytes / cell_bytes>;
    struct Found {
        std::uintptr_t address = 0;
        const char* what = nullptr; ///< none yet
        Moment now, before;
    };

    Page& page_of(std::uintptr_t address);
    template <class Visit>
    void for_each_cell(const void* from, std::size_t num_bytes, const Visit& visit);
    bool is_shared(std::uintptr_t address) const { return address - shared_ < shared_bytes_; }
    std::uint32_t first_that_counts(const void* memory, const Moment& now) const;
    void check_after_write(const Moment& write, std::uintptr_t address, const Moment& now,
                           const char* what);
    void check_after_reads(const Moment& read, std::uintptr_t address, const Moment& now);
    void report(std::uintptr_t address, const char* what, const Moment& now, const Moment& before);
    std::string who(const Moment& moment) const;

    std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
    struct Known {
        std::uintptr_t number = 0;
        Page* page = nullptr;
    };
    std::array<Known, 256> known_; ///< some of the pages, each at its number modulo 256
    std::uint32_t num_blocks_ = 0, first_of_launch_ = 1;
    std::uintptr_t shared_ = 0;
    std::size_t shared_bytes_ = 0;
    Found found_;
};

} // namespace sluice::testing
