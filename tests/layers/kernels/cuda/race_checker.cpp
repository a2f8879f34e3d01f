#include "tests/layers/kernels/cuda/race_checker.hpp"

#include "tests/layers/kernels/cuda/source_place.hpp"

#include <bit>
#include <sstream>

namespace sluice::testing {

namespace {

constexpr int warp_size = 32;

bool same_warp(const Moment& a, const Moment& b)
{
    return a.thread / warp_size == b.thread / warp_size;
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

RaceChecker::Cell& RaceChecker::cell_at(std::uintptr_t address)
{
    const std::uintptr_t page = address / page_bytes;
    if (last_ == nullptr || page != last_page_) {
        std::unique_ptr<Page>& found = pages_[page];
        if (!found)
            found = std::make_unique<Page>();
        last_ = found.get();
        last_page_ = page;
    }
    return (*last_)[address % page_bytes / cell_bytes];
}

template <class Visit>
void RaceChecker::for_each_cell(const void* from, std::size_t num_bytes, const Visit& visit)
{
    const auto begin = std::bit_cast<std::uintptr_t>(from), end = begin + num_bytes;
    for (std::uintptr_t at = begin - begin % cell_bytes; at < end; at += cell_bytes)
        visit(cell_at(at), at);
}

/// Whether an access is one that another may race with: of this launch, and of this block where
/// memory is the block's own.
bool RaceChecker::counts(const Moment& before, const Moment& now, bool shared) const
{
    return before.block >= (shared ? now.block : first_of_launch_);
}

void RaceChecker::check_after_write(const Cell& cell, std::uintptr_t address, const Moment& now,
                                    const char* what)
{
    const bool shared = is_shared(address);
    if (!counts(cell.write, now, shared))
        return;
    if (cell.write.copy_under_way)
        report(address, "touches what is being copied", now, cell.write);
    else if (cell.write.block != now.block || !ordered(cell.write, now))
        report(address, what, now, cell.write);
}

void RaceChecker::check_after_reads(const Cell& cell, std::uintptr_t address, const Moment& now)
{
    const Moment& read = cell.read;
    if (!counts(read, now, is_shared(address)))
        return;
    const bool of_others = cell.other_blocks || read.block != now.block;
    const bool unordered =
        read.barriers == now.barriers &&
        (cell.other_warps || !same_warp(read, now) ||
         (read.warp_barriers == now.warp_barriers &&
          (cell.other_lanes || read.thread != now.thread)));
    if (of_others || unordered)
        report(address, "writes what others read", now, read);
}

void RaceChecker::read(const void* from, std::size_t num_bytes, const Moment& now)
{
    for_each_cell(from, num_bytes, [&](Cell& cell, std::uintptr_t address) {
        const bool shared = is_shared(address);
        if (shared && cell.write.block != now.block)
            report(address, "reads what its block has not written", now, {});
        check_after_write(cell, address, now, "reads what another wrote");
        const bool first = !counts(cell.read, now, shared);
        if (first || cell.read.block != now.block || cell.read.barriers < now.barriers) {
            cell.other_blocks = !first && (cell.other_blocks || cell.read.block != now.block);
            cell.other_warps = cell.other_lanes = false;
            cell.read = now;
        } else if (!same_warp(cell.read, now)) {
            cell.other_warps = true;
        } else if (cell.read.warp_barriers < now.warp_barriers) {
            cell.other_lanes = false;
            cell.read = now;
        } else if (cell.read.thread != now.thread) {
            cell.other_lanes = true;
        }
    });
}

void RaceChecker::note_write(const void* to, std::size_t num_bytes, const Moment& now)
{
    if (num_bytes % cell_bytes != 0)
        report(std::bit_cast<std::uintptr_t>(to),
               "writes single bytes, which are not told apart here", now, {});
    for_each_cell(to, num_bytes, [&](Cell& cell, std::uintptr_t address) {
        check_after_write(cell, address, now, "writes what another wrote");
        check_after_reads(cell, address, now);
        cell = {.write = now,
                .read = {},
                .other_lanes = false,
                .other_warps = false,
                .other_blocks = false};
    });
}

void RaceChecker::write(const void* to, std::size_t num_bytes, const Moment& now)
{
    note_write(to, num_bytes, now);
}

void RaceChecker::begin_copy(void* to, std::size_t num_bytes, const Moment& now)
{
    Moment under_way = now;
    under_way.copy_under_way = true;
    note_write(to, num_bytes, under_way);
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
