#include "src/trace/rank_timeline.hpp"

#include <cstring>
#include <type_traits>

namespace sluice {

namespace {

/// Moves entries from `from_rank` into rank 0's `entries`, sized to fit.
template <typename Entry>
void move_to_rank_zero(Transport& transport, int from_rank, std::vector<Entry>& entries)
{
    static_assert(std::is_trivially_copyable_v<Entry> && sizeof(Entry) % 4 == 0);
    const TensorView view{entries.data(),
                          DType::i32,
                          {static_cast<std::int64_t>(entries.size() * sizeof(Entry) / 4)},
                          Device{}};
    const MessageLabel label{0, from_rank, false, "timeline"};
    if (!entries.empty())
        transport.wait(transport.rank() == 0 ? transport.receive(view, from_rank, label)
                                             : transport.send(view, 0, label));
}

void align(RankTimeline& timeline)
{
    for (ActivitySpan& span : timeline.spans)
        span.begin_ns = timeline.clock.to_reference(span.begin_ns);
}

} // namespace

std::vector<RankTimeline> gather_timelines(Transport& transport, const ActionRecorder& recorder,
                                           const std::vector<ClockOffset>& begin,
                                           const std::vector<ClockOffset>& end)
{
    const auto me = static_cast<std::size_t>(transport.rank());
    const auto num_ranks = static_cast<std::size_t>(transport.num_ranks());
    std::vector<double> sizes(3 * num_ranks, 0.0);
    sizes[3 * me] = static_cast<double>(recorder.updates().size());
    sizes[3 * me + 1] = static_cast<double>(recorder.spans().size());
    sizes[3 * me + 2] = static_cast<double>(recorder.uncertainty_ns());
    transport.sum(sizes);
    RankTimeline mine{recorder.updates(), recorder.spans(), {}, recorder.uncertainty_ns()};
    if (me != 0) {
        move_to_rank_zero(transport, transport.rank(), mine.updates);
        move_to_rank_zero(transport, transport.rank(), mine.spans);
        return {};
    }
    std::vector<RankTimeline> timelines{std::move(mine)};
    for (std::size_t rank = 1; rank < num_ranks; ++rank) {
        RankTimeline& timeline = timelines.emplace_back();
        timeline.updates.resize(static_cast<std::size_t>(sizes[3 * rank]));
        timeline.spans.resize(static_cast<std::size_t>(sizes[3 * rank + 1]));
        timeline.stream_uncertainty_ns = static_cast<std::int64_t>(sizes[3 * rank + 2]);
        move_to_rank_zero(transport, static_cast<int>(rank), timeline.updates);
        move_to_rank_zero(transport, static_cast<int>(rank), timeline.spans);
        timeline.clock = {begin[rank], end[rank]};
        align(timeline);
    }
    return timelines;
}

} // namespace sluice
