// What a run says of anomalies and of ranks that are slow.
#include "pipeline/timeline/compute_actions.hpp"
#include "src/config/run_key.hpp"
#include "src/train/run_journal.hpp"

#include <fmt/format.h>

namespace sluice {

void RunJournal::injects(std::int64_t update, const std::string& fault)
{
    progress_.warn(fmt::format("update {} is broken on purpose: --inject {}", update, fault));
}

void RunJournal::met(const AnomalyVerdict& verdict)
{
    write("anomaly", std::vector<MetricField>{{"update", verdict.update},
                                              {"kind", std::string(name_of(verdict.anomaly.kind))},
                                              {"response", std::string(name_of(verdict.response))},
                                              {"loss", verdict.anomaly.loss},
                                              {"samples", samples_of(verdict.batches)},
                                              {"reason", verdict.anomaly.what}});
    attempt([this] { metrics_.sync(); });
    if (verdict.response == AnomalyResponse::warn)
        progress_.warn(fmt::format("update {}: {}", verdict.update, verdict.text));
}

void RunJournal::went_back(const AnomalyVerdict& verdict, std::int64_t completed_updates)
{
    metrics_.drop_after(completed_updates);
    const auto& [first, last] = verdict.batches;
    write("rewind", std::vector<MetricField>{{"update", completed_updates},
                                             {"from", verdict.update},
                                             {"to", completed_updates},
                                             {"kind", std::string(name_of(verdict.anomaly.kind))},
                                             {"loss", verdict.anomaly.loss},
                                             {"skipped_batches", std::vector{first, last}},
                                             {"samples", samples_of(verdict.batches)},
                                             {"num_rewinds", verdict.num_rewinds},
                                             {"reason", verdict.anomaly.what}});
    attempt([&] {
        metrics_.sync();
        if (verdict.response == AnomalyResponse::rewind) // to a checkpoint; a skip saves nothing
            folder_.tell("running", completed_updates, "", 0);
    });
    const auto samples = samples_of(verdict.batches);
    const std::string batches = first == last
                                    ? fmt::format("batch {} is", first)
                                    : fmt::format("batches {} to {} (samples {} to {}) are", first,
                                                  last, samples.front(), samples.back());
    const std::string place = verdict.response == AnomalyResponse::skip
                                  ? "it is done again on the next batch"
                                  : fmt::format("back to update {}", completed_updates);
    progress_.warn(fmt::format("update {}: {}: {}; {} skipped from now on", verdict.update,
                               verdict.text, place, batches));
}

void RunJournal::changed_pace(std::int64_t update, const SlowRank& rank)
{
    const StragglerNotice& notice = rank.notice;
    write("straggler", std::vector<MetricField>{{"update", update},
                                                {"rank", std::int64_t{notice.rank}},
                                                {"replica", rank.replica},
                                                {"stages", rank.stages},
                                                {"host", rank.host},
                                                {"recovered", notice.recovered},
                                                {"slowdown", notice.slowdown},
                                                {"compute_seconds", notice.seconds},
                                                {"usual_compute_seconds", notice.usual_seconds},
                                                {"from_start", notice.from_start}});
    if (notice.recovered)
        progress_.note(fmt::format("update {}: {} is as fast as usual again", update, rank.name));
    else if (notice.from_start)
        progress_.warn(fmt::format(
            "update {}: {} has been slow from the start and all ranks wait for it: it computes "
            "{} per update, ranks that do the same work {}; that is {:.2f} times as long",
            update, rank.name, seconds_text(notice.seconds), seconds_text(notice.usual_seconds),
            notice.slowdown));
    else
        progress_.warn(fmt::format(
            "update {}: {} has become slow and all ranks wait for it: it computes {} per "
            "update, usually {}; that is {:.2f} times as long, measured against its peers",
            update, rank.name, seconds_text(notice.seconds), seconds_text(notice.usual_seconds),
            notice.slowdown));
}

} // namespace sluice
