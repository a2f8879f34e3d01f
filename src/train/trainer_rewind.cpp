// What the trainer does with an update that met an anomaly.

#include "io/checkpoint.hpp"
#include "pipeline/agreement.hpp"
#include "src/train/rewind.hpp"
#include "src/train/trainer.hpp"

namespace sluice {

void Trainer::refuse_spike(double loss)
{
    const auto spike = anomalies_.spike_in(loss);
    if (!spike)
        return;
    if (config_.anomaly.on_spike != AnomalyResponse::warn)
        throw AnomalousUpdate(*spike);
    const AnomalyVerdict verdict = anomalies_.answer(*spike, completed_updates_ + 1);
    tell([&](RunJournal& journal) { journal.met(verdict); });
}

std::optional<UpdateSummary> Trainer::run_update_or_go_back(const FaultInjection& fault)
{
    try {
        return run_update(fault);
    } catch (const AnomalousUpdate& refused) {
        const AnomalyVerdict verdict = anomalies_.answer(refused.anomaly(), completed_updates_ + 1);
        if (verdict.response == AnomalyResponse::stop) {
            tell([&](RunJournal& journal) { journal.met(verdict); });
            throw UpdateRefused(verdict.text);
        }
        go_back(verdict);
        return std::nullopt;
    }
}

void Trainer::go_back(const AnomalyVerdict& verdict)
{
    if (recorder_ != nullptr) {
        recorder_->end_update();
        end_trace(true);
    }
    if (verdict.response == AnomalyResponse::rewind) { // even over none: weights may be damaged
        finish_save();                                 // which may be what it goes back to
        enter(RankPhase::starting);                    // reads files
        const auto folder = checkpoint_to_rewind_to(folder_.checkpoints(), verdict.target,
                                                    verdict.text, replicas_.world());
        anomalies_.go_back_to(restore(folder, false));
        on_rank_zero(replicas_.world(),
                     [&] { delete_checkpoints_after(folder_.checkpoints(), completed_updates_); });
    }
    tell([&](RunJournal& journal) { journal.went_back(verdict, completed_updates_); });
}

} // namespace sluice
