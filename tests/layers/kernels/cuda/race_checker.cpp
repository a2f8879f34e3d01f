#include "tests/layers/kernels/cuda/race_checker.hpp"

#include "tests/layers/kernels/cuda/source_place.hpp"

#include <algorithm>
#include <bit>
#include <sstream>

namespace sluice::testing {

namespace {

constexpr int warp_size = 32;

bool same_warp(const Moment& a, const Moment& b)
{
    return a.thread / warp_size == b.thread / warp_size;
}

bool same(const Moment& a, const Moment& b)
{
    return a.block == b.block && a.thread == b.thread && a.barriers == b.barriers &&
           a.warp_barriers == b.warp_barriers;
}

/// Of one block.
bool ordered(const Moment& before, const Moment& now)
{
    return before.thread == now.thread || before.barriers < now.barriers ||
           (same_warp(before, now) && before.warp_barriers < now.warp_barriers);
}

} // namespace

std::uint32_t RaceChecker::begin_block(const void* shared, std::size_t shared_bytes)
{
    shared_ = std::bit_cast<std::uintptr_t>(shared);
    shared_bytes_ = shared_bytes;
    return ++num_blocks_;
}

RaceChecker::Page& RaceChecker::page_of(std::uintptr_t address)
{
    const std::uintptr_t number = address / page_bytes;
    Known& known = known_[number % known_.size()];
    if (known.page == nullptr || known.number != number) {
        std::unique_ptr<Page>& page = pages_[number];
        if (!page)
            page = std::make_unique<Page>();
        known = {number, page.get()};
    }
    return *known.page;
}

template <class Visit>
void RaceChecker::for_each_cell(const void* from, std::size_t num_bytes, const Visit& visit)
{
    const auto begin = std::bit_cast<std::uintptr_t>(from), end = begin + num_bytes;
    for (std::uintptr_t at = begin - begin % cell_bytes; at < end;) {
        Page& page = page_of(at);
        const std::uintptr_t page_end = std::min(end, at - at % page_bytes + page_bytes);
        for (; at < page_end; at += cell_bytes)
            visit(page[at % page_bytes / cell_bytes], at);
    }
}

/// The first block whose accesses one of `now` may race with: of its launch; its own where memory
/// is the block's.
std::uint32_t RaceChecker::first_that_counts(const void* memory, const Moment& now) const
{
    return is_shared(std::bit_cast<std::uintptr_t>(memory)) ? now.block : first_of_launch_;
}

void RaceChecker::check_after_write(const Moment& write, std::uintptr_t address, const Moment& now,
                                    const char* what)
{
    if (write.copy_under_way)
        report(address, "touches what is being copied", now, write);
    else if (write.block != now.block || !ordered(write, now))
        report(address, what, now, write);
}

void RaceChecker::check_after_reads(const Moment& read, std::uintptr_t address, const Moment& now)
{
    const bool of_others = read.other_blocks || read.block != now.block;
    const bool unordered =
        read.barriers == now.barriers && (read.other_warps || !same_warp(read, now) ||
                                          (read.warp_barriers == now.warp_barriers &&
                                           (read.other_lanes || read.thread != now.thread)));
    if (of_others || unordered)
        report(address, "writes what others read", now, read);
}

void RaceChecker::read(const void* from, std::size_t num_bytes, const Moment& now)
{
    const std::uint32_t first = first_that_counts(from, now);
    const bool shared = is_shared(std::bit_cast<std::uintptr_t>(from));
    for_each_cell(from, num_bytes, [&](Cell& cell, std::uintptr_t address) {
        Moment& last = cell.read;
        if (same(last, now))
            return; // nothing has been written since: reads end with a write
        if (cell.write.block >= first)
            check_after_write(cell.write, address, now, "reads what another wrote");
        else if (shared)
            report(address, "reads what its block has not written", now, {});
        if (last.block != now.block || last.barriers < now.barriers) {
            const bool other_blocks =
                last.block >= first && (last.other_blocks || last.block != now.block);
            last = now;
            last.other_blocks = other_blocks;
        } else if (!same_warp(last, now)) {
            last.other_warps = true;
        } else if (last.warp_barriers < now.warp_barriers) {
            last.warp_barriers = now.warp_barriers;
            last.thread = now.thread;
            last.other_lanes = false;
        } else if (last.thread != now.thread) {
            last.other_lanes = true;
        }
    });
}

void RaceChecker::write(const void* to, std::size_t num_bytes, const Moment& now)
{
    if (num_bytes % cell_bytes != 0)
        report(std::bit_cast<std::uintptr_t>(to),
               "writes single bytes, which are not told apart here", now, {});
    const std::uint32_t first = first_that_counts(to, now);
    for_each_cell(to, num_bytes, [&](Cell& cell, std::uintptr_t address) {
        if (cell.write.block >= first)
            check_after_write(cell.write, address, now, "writes what another wrote");
        if (cell.read.block >= first)
            check_after_reads(cell.read, address, now);
        cell = {.write = now, .read = {}};
    });
}

void RaceChecker::begin_copy(void* to, std::size_t num_bytes, const Moment& now)
{
    Moment under_way = now;
    under_way.copy_under_way = true;
    write(to, num_bytes, under_way);
}

void RaceChecker::end_copy(void* to, std::size_t num_bytes, const Moment& now)
{
    for_each_cell(to, num_bytes, [&](Cell& cell, std::uintptr_t) { cell.write = now; });
}

void RaceChecker::report(std::uintptr_t address, const char* what, const Moment& now,
                         const Moment& before)
{
    if (found_.what == nullptr)
        found_ = {.address = address, .what = what, .now = now, .before = before};
}

std::string RaceChecker::who(const Moment& moment) const
{
    return "thread " + std::to_string(moment.thread) + " of block " +
           std::to_string(moment.block - first_of_launch_) + " behind " +
           std::to_string(moment.barriers) + " barriers, at " + source_place(moment.place);
}

std::string RaceChecker::take_race()
{
    if (found_.what == nullptr)
        return {};
    std::ostringstream text;
    text << "race: a thread " << found_.what << ", at ";
    if (is_shared(found_.address))
        text << "byte " << found_.address - shared_ << " of shared memory";
    else
        text << "address " << std::hex << found_.address << std::dec;
    text << "\n  now " << who(found_.now);
    if (found_.before.block != 0)
        text << "\n  before " << who(found_.before);
    found_ = {};
    return text.str();
}

} // namespace sluice::testing
