#include "src/trace/trace_events.hpp"

#include "src/trace/message_times.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::ordered_json;

namespace {

enum Row : std::int32_t { compute_row, waiting_row, message_row, update_row };

/// Shorter ones are asking whether messages are there, and hide the others.
constexpr std::int64_t shortest_message_bar_ns = 500;

/// "F3": without the chunk, which stands in the arguments.
std::string short_name(const Action& action)
{
    const std::string text = text_of(action);
    return text.substr(std::min(text.find_first_not_of("0123456789"), text.size() - 1));
}

class RankBars {
public:
    RankBars(TraceFile& file, const TracedRun& run, const RankTimeline& timeline, std::int32_t rank,
             std::int64_t zero_ns)
        : file_(file), run_(run), timeline_(timeline), rank_(rank),
          stage_(rank % run.program.num_ranks()), zero_ns_(zero_ns)
    {
    }

    void add()
    {
        name_rows();
        for (const RecordedUpdate& update : timeline_.updates)
            add_span(update_row, "update", "update " + std::to_string(update.update),
                     timeline_.begin_ns(update.first_span), timeline_.begin_ns(update.end_span),
                     {});
        std::size_t next = 0;
        for (std::size_t i = 0; i + 1 < timeline_.spans.size(); ++i) {
            while (next < timeline_.updates.size() && timeline_.updates[next].end_span <= i)
                ++next;
            update_ = next < timeline_.updates.size() ? timeline_.updates[next].update : 0;
            if (timeline_.spans[i].action < 0)
                add_phase(i);
            else
                add_action(i);
        }
    }

private:
    void name_rows()
    {
        std::string layers;
        for (std::size_t chunk = 0; chunk < run_.partition.size(); ++chunk)
            if (run_.program.rank_of_chunk[chunk] == stage_)
                layers += (layers.empty() ? ": " : "; ") + text_of(run_.partition[chunk]);
        const std::string replica =
            run_.num_replicas == 1
                ? ""
                : ", replica " + std::to_string(rank_ / run_.program.num_ranks());
        file_.name_process(rank_, "rank " + std::to_string(rank_) + replica + layers);
        file_.name_row({rank_, compute_row}, "compute");
        file_.name_row({rank_, waiting_row}, "waiting");
        file_.name_row({rank_, message_row}, "transfers");
        file_.name_row({rank_, update_row}, "update");
    }

    void add_span(Row row, const char* category, const std::string& name, std::int64_t begin_ns,
                  std::int64_t end_ns, const Json& args)
    {
        file_.add_span({rank_, row}, category, name, begin_ns - zero_ns_, end_ns - zero_ns_, args);
    }

    void add_phase(std::size_t i)
    {
        const std::int64_t begin = timeline_.begin_ns(i), end = timeline_.end_ns(i);
        switch (timeline_.spans[i].activity) {
        case Activity::waiting_for_sends:
            return add_span(waiting_row, "wait", "wait for sends", begin, end, {});
        case Activity::replicas:
            return add_span(update_row, "phase", "exchange with replicas", begin, end, {});
        case Activity::reduction: return add_span(update_row, "phase", "reduction", begin, end, {});
        case Activity::optimizer: return add_span(update_row, "phase", "optimizer", begin, end, {});
        case Activity::evaluation:
            return add_span(update_row, "phase", "evaluation", begin, end, {});
        case Activity::checkpoint:
            return add_span(update_row, "phase", "checkpoint", begin, end, {});
        default: return;
        }
    }

    Json args_of(const Action& action) const
    {
        return {{"update", update_},
                {"chunk", action.chunk},
                {"micro-batch", action.microbatch},
                {"layers", text_of(run_.partition[static_cast<std::size_t>(action.chunk)])}};
    }

    void add_action(std::size_t i)
    {
        const ActivitySpan& span = timeline_.spans[i];
        const Action& action =
            run_.program
                .actions[static_cast<std::size_t>(stage_)][static_cast<std::size_t>(span.action)];
        const std::int64_t begin = timeline_.begin_ns(i), end = timeline_.end_ns(i);
        switch (span.activity) {
        case Activity::compute:
            add_span(compute_row, "compute", short_name(action), begin, end, args_of(action));
            return count_live(action, begin, end);
        case Activity::data:
            return add_span(update_row, "phase", "read tokens", begin, end, args_of(action));
        case Activity::waiting_for_input:
            return add_span(waiting_row, "wait", "wait for input of " + short_name(action), begin,
                            end, args_of(action));
        case Activity::waiting_for_buffer:
            return add_span(waiting_row, "wait", "wait for buffer of " + short_name(action), begin,
                            end, args_of(action));
        case Activity::messages:
            // Before its own work an action may wait for a buffer.
            if (is_message(action.kind) && timeline_.spans[i + 1].action != span.action)
                add_span(message_row, "message", short_name(action), begin, end, args_of(action));
            else if (end - begin >= shortest_message_bar_ns)
                add_span(message_row, "message", "messages of " + short_name(action), begin, end,
                         args_of(action));
            return;
        default: return;
        }
    }

    /// Micro-batches of any chunk whose forward has begun and whose last backward has not ended.
    void count_live(const Action& action, std::int64_t begin, std::int64_t end)
    {
        const bool forward = action.kind == ActionKind::forward;
        if (action.kind == ActionKind::backward_input)
            return;
        live_ += forward ? 1 : -1;
        file_.add_count(rank_, "live activations", (forward ? begin : end) - zero_ns_, live_);
    }

    TraceFile& file_;
    const TracedRun& run_;
    const RankTimeline& timeline_;
    std::int32_t rank_, stage_; ///< of the job; of the program
    std::int64_t zero_ns_;
    std::int64_t update_ = 0, live_ = 0;
};

} // namespace

TraceSize trace_size(const TracedRun& run)
{
    TraceSize size;
    for (const auto& actions : run.program.actions) {
        // A compute action waits for a buffer, reads or waits, handles, computes, moves messages
        // along and is counted; a message is one bar and half an arrow.
        std::int64_t events = 32, spans = 32;
        for (const Action& action : actions) {
            events += is_message(action.kind) ? 2 : 5;
            spans += is_message(action.kind) ? 1 : 7;
        }
        size.events_per_update += run.num_replicas * events;
        size.spans_per_update = std::max(size.spans_per_update, spans);
    }
    return size;
}

TraceFile make_trace(const TracedRun& run, std::span<const RankTimeline> timelines)
{
    TraceFile file;
    std::int64_t zero_ns = timelines[0].spans.front().begin_ns;
    for (const RankTimeline& timeline : timelines)
        zero_ns = std::min(zero_ns, timeline.spans.front().begin_ns);
    for (std::size_t rank = 0; rank < timelines.size(); ++rank)
        RankBars(file, run, timelines[rank], static_cast<std::int32_t>(rank), zero_ns).add();
    std::int64_t id = 0;
    for (std::size_t update = 0; update < timelines[0].updates.size(); ++update)
        for (const MessageTimes& message : message_times(run.program, timelines, update))
            file.add_arrow(++id, message.gradient ? "gradient" : "activation",
                           {message.from_rank, message_row}, message.send_begin_ns - zero_ns,
                           {message.to_rank, compute_row}, message.used_ns - zero_ns);
    return file;
}

} // namespace sluice
