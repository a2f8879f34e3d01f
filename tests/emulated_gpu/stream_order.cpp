#include "tests/emulated_gpu/stream_order.hpp"

#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <algorithm>
#include <bit>

namespace sluice::testing {

namespace {

void join(WorkDone& clock, const WorkDone& other)
{
    clock.resize(std::max(clock.size(), other.size()));
    for (std::size_t i = 0; i < other.size(); ++i)
        clock[i] = std::max(clock[i], other[i]);
}

std::uintptr_t begin_of(const MemoryAccess& access)
{
    return std::bit_cast<std::uintptr_t>(access.begin);
}
std::uintptr_t end_of(const MemoryAccess& access) { return begin_of(access) + access.num_bytes; }

std::string named(const std::string& work, const MemoryAccess& access)
{
    return work + " (" + access.operand + ")";
}

[[noreturn]] void refuse(const std::string& now, bool writes, const std::string& before,
                         bool written_before)
{
    throw EmulationError("a wait is missing: " + now + (writes ? " writes" : " reads") + " what " +
                         before + (written_before ? " writes" : " reads") +
                         ", and nothing orders them");
}

} // namespace

bool StreamOrder::Step::known_to(const WorkDone& clock) const
{
    return position == 0 || (stream < clock.size() && position <= clock[stream]);
}

std::size_t StreamOrder::add_stream()
{
    streams_.emplace_back();
    return streams_.size() - 1;
}

void StreamOrder::hold_back(std::size_t stream, const WorkDone& done)
{
    join(streams_[stream], done);
}

void StreamOrder::host_waited(const WorkDone& done) { join(host_, done); }

void StreamOrder::host_waited_for_all()
{
    for (const WorkDone& clock : streams_)
        join(host_, clock);
}

std::string StreamOrder::still_used_by(const void* begin, std::size_t num_bytes) const
{
    const auto from = std::bit_cast<std::uintptr_t>(begin), to = from + num_bytes;
    for (const auto& [at, segment] : segments_) {
        if (segment.end <= from || at >= to)
            continue;
        if (!segment.write.known_to(host_))
            return segment.write.name + " writes";
        for (const Step& read : segment.reads)
            if (!read.known_to(host_))
                return read.name + " reads";
    }
    return {};
}

void StreamOrder::split(std::uintptr_t address)
{
    auto after = segments_.upper_bound(address);
    if (after == segments_.begin())
        return;
    auto& [begin, segment] = *std::prev(after);
    if (begin == address || segment.end <= address)
        return;
    segments_.emplace_hint(after, address, segment);
    segment.end = address;
}

template <class Visit>
void StreamOrder::for_each_segment(const MemoryAccess& access, const Visit& visit)
{
    const std::uintptr_t end = end_of(access);
    split(begin_of(access));
    split(end);
    auto next = segments_.lower_bound(begin_of(access));
    for (std::uintptr_t at = begin_of(access); at < end;) {
        if (next == segments_.end() || next->first > at) {
            const std::uintptr_t gap_end =
                next == segments_.end() ? end : std::min(end, next->first);
            next =
                segments_.emplace_hint(next, at, Segment{.end = gap_end, .write = {}, .reads = {}});
        }
        visit(next->second);
        at = next->second.end;
        ++next;
    }
}

void StreamOrder::check(const Segment& segment, const MemoryAccess& access, const WorkDone& known,
                        const std::string& name) const
{
    if (!segment.write.known_to(known))
        refuse(named(name, access), access.written, segment.write.name, true);
    if (access.written)
        for (const Step& read : segment.reads)
            if (!read.known_to(known))
                refuse(named(name, access), true, read.name, false);
}

void StreamOrder::check_outside(const MemoryAccess& access, const std::string& name) const
{
    for (const auto& [key, outside] : outside_)
        if (begin_of(access) < end_of(outside.access) &&
            begin_of(outside.access) < end_of(access) && (access.written || outside.access.written))
            refuse(named(name, access), access.written, named(outside.name, outside.access),
                   outside.access.written);
}

void StreamOrder::note(const MemoryAccess& access, const Step& step)
{
    for_each_segment(access, [&](Segment& segment) {
        if (access.written) {
            segment.write = step;
            segment.reads.clear();
        } else {
            const auto own = std::ranges::find(segment.reads, step.stream, &Step::stream);
            if (own == segment.reads.end())
                segment.reads.push_back(step);
            else
                *own = step;
        }
    });
    if (!access.written)
        return;
    auto first = segments_.find(begin_of(access)); // one again
    first->second.end = end_of(access);
    segments_.erase(std::next(first), segments_.lower_bound(end_of(access)));
}

void StreamOrder::add_work(std::size_t stream, const std::string& name,
                           const MemoryAccesses& accesses)
{
    WorkDone& clock = streams_[stream];
    join(clock, host_);
    clock.resize(std::max(clock.size(), stream + 1));
    for (const MemoryAccess& access : accesses) {
        check_outside(access, name);
        for_each_segment(access,
                         [&](const Segment& segment) { check(segment, access, clock, name); });
    }
    const std::uint64_t position = ++clock[stream];
    for (const MemoryAccess& access : accesses)
        note(access, {.stream = stream, .position = position, .name = named(name, access)});
}

void StreamOrder::begin_outside(std::int64_t key, const std::string& name,
                                const MemoryAccess& access)
{
    check_outside(access, name);
    for_each_segment(access, [&](const Segment& segment) { check(segment, access, host_, name); });
    outside_.insert_or_assign(key, Outside{name, access});
}

void StreamOrder::end_outside(std::int64_t key) { outside_.erase(key); }

} // namespace sluice::testing
