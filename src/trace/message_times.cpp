#include "src/trace/message_times.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// One entry per edge, direction and micro-batch.
class Messages {
public:
    /// `first_rank`: of the replica.
    Messages(const Schedule& program, std::int32_t first_rank)
        : program_(program), first_rank_(first_rank),
          times_(2 * static_cast<std::size_t>(program.num_chunks) *
                 static_cast<std::size_t>(program.num_microbatches))
    {
    }

    void add(const Action& action, std::int64_t begin_ns, std::int64_t end_ns, Activity activity)
    {
        switch (action.kind) {
        case ActionKind::send_activation:
            send(at(action.chunk, action, false), begin_ns, end_ns);
            break;
        case ActionKind::send_gradient:
            send(at(action.chunk - 1, action, true), begin_ns, end_ns);
            break;
        case ActionKind::receive_activation:
            at(action.chunk - 1, action, false).posted_ns = end_ns;
            break;
        case ActionKind::receive_gradient: at(action.chunk, action, true).posted_ns = end_ns; break;
        case ActionKind::forward:
            if (action.chunk > 0)
                consume(at(action.chunk - 1, action, false), begin_ns, end_ns, activity);
            break;
        case ActionKind::backward:
        case ActionKind::backward_input:
            if (action.chunk + 1 < program_.num_chunks)
                consume(at(action.chunk, action, true), begin_ns, end_ns, activity);
            break;
        default: break;
        }
    }

    void append_sent(std::vector<MessageTimes>& all) const
    {
        std::copy_if(times_.begin(), times_.end(), std::back_inserter(all),
                     [](const MessageTimes& one) { return one.sent_ns != 0; });
    }

private:
    MessageTimes& at(std::int32_t edge, const Action& action, bool gradient)
    {
        MessageTimes& times = times_[(2 * static_cast<std::size_t>(edge) + (gradient ? 1 : 0)) *
                                         static_cast<std::size_t>(program_.num_microbatches) +
                                     static_cast<std::size_t>(action.microbatch)];
        times.edge = edge;
        times.microbatch = action.microbatch;
        times.gradient = gradient;
        times.from_rank =
            first_rank_ +
            program_.rank_of_chunk[static_cast<std::size_t>(edge + (gradient ? 1 : 0))];
        times.to_rank = first_rank_ +
                        program_.rank_of_chunk[static_cast<std::size_t>(edge + (gradient ? 0 : 1))];
        return times;
    }

    static void send(MessageTimes& times, std::int64_t begin_ns, std::int64_t end_ns)
    {
        times.send_begin_ns = begin_ns;
        times.sent_ns = end_ns;
    }

    static void consume(MessageTimes& times, std::int64_t begin_ns, std::int64_t end_ns,
                        Activity activity)
    {
        if (activity == Activity::waiting_for_input) {
            times.awaited_ns = begin_ns;
            times.arrived_ns = end_ns;
        } else if (activity == Activity::compute) {
            times.used_ns = begin_ns;
        }
    }

    const Schedule& program_;
    std::int32_t first_rank_;
    std::vector<MessageTimes> times_;
};

} // namespace

double MessageTimes::flight_seconds() const
{
    return 1e-9 * static_cast<double>(
                      std::max<std::int64_t>(0, arrived_ns - std::max(sent_ns, posted_ns)));
}

std::vector<MessageTimes> message_times(const Schedule& program,
                                        std::span<const RankTimeline> timelines, std::size_t update)
{
    const std::size_t num_ranks = program.actions.size();
    std::vector<MessageTimes> all;
    for (std::size_t first = 0; first < timelines.size(); first += num_ranks) {
        Messages messages(program, static_cast<std::int32_t>(first));
        for (std::size_t rank = 0; rank < num_ranks; ++rank) {
            const RankTimeline& timeline = timelines[first + rank];
            const RecordedUpdate& recorded = timeline.updates[update];
            for (std::size_t i = recorded.first_span; i < recorded.end_span; ++i)
                if (const ActivitySpan& span = timeline.spans[i]; span.action >= 0)
                    messages.add(program.actions[rank][static_cast<std::size_t>(span.action)],
                                 timeline.begin_ns(i), timeline.end_ns(i), span.activity);
        }
        messages.append_sent(all);
    }
    return all;
}

} // namespace sluice
