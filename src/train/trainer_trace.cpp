// Which of a trainer's updates are traced.
#include "pipeline/agreement.hpp"
#include "src/train/trainer.hpp"

namespace sluice {

void Trainer::open_trace()
{
    auto traced = parse_update_ranges(config_.trace.updates, "trace.updates");
    if (traced.empty())
        return;
    tracer_ =
        std::make_unique<RunTracer>(TracedRun{.program = plan_.program,
                                              .partition = plan_.partition,
                                              .planned = plan_.costs,
                                              .schedule_name = plan_.schedule_name,
                                              .micro_batch_size = config_.batch.micro_batch_size,
                                              .seq_len = config_.batch.seq_len,
                                              .num_replicas = replicas_.count()},
                                    std::move(traced), folder_.traces(), stage_.stream());
}

void Trainer::begin_trace()
{
    tracer_->before_update(replicas_.world(), completed_updates_ + 1);
    recorder_ = tracer_->recorder();
    executor_.record_into(recorder_);
}

void Trainer::end_trace(bool last)
{
    const AtFiles writing(replicas_.world().activity()); // of hundreds of megabytes
    try {
        const auto written = tracer_->after_update(replicas_.world(), completed_updates_, last);
        if (written)
            journal_->traced(*written);
    } catch (const AgreedError& error) {
        if (!goes_on_without(error))
            throw;
        // Not always the last complete one: one that was refused is traced, too.
        const std::int64_t traced = recorder_->updates().back().update;
        tell([&](RunJournal& journal) { journal.not_traced(traced, error); });
    }
    recorder_ = tracer_->recorder();
    executor_.record_into(recorder_);
}

} // namespace sluice
