// The end of a run: why it came, the memory that was needed, and the graphs that were held.
#include "core/cuda/gpu.hpp"
#include "core/logging.hpp"
#include "src/process/process_memory.hpp"
#include "src/train/trainer.hpp"

namespace sluice {

ExitCode Trainer::end(bool stopping)
{
    enter(RankPhase::ending);
    say_graphs();
    const bool finished = completed_updates_ >= config_.run.updates && !evaluation_owed_;
    Transport& world = replicas_.world();
    const auto of_ranks = [&](std::size_t bytes) {
        std::vector<double> all(static_cast<std::size_t>(world.num_ranks()), 0.0);
        all[static_cast<std::size_t>(world.rank())] = static_cast<double>(bytes);
        world.sum(all);
        return all;
    };
    const std::vector<double> peak = of_ranks(peak_resident_bytes());
    // Nothing of a GPU is given back before the end.
    const std::vector<double> peak_on_gpus = stage_.stream().device.kind == DeviceKind::cuda
                                                 ? of_ranks(used_gpu_bytes())
                                                 : std::vector<double>{};
    if (journal_) {
        const std::string reason = finished                  ? "all updates done"
                                   : !stop_.reason().empty() ? "stopped by " + stop_.reason()
                                   : stopping                ? "stopped by a signal to another rank"
                                                             : "stopped by --stop-after";
        const RunJournal::End end{completed_updates_, finished, reason};
        journal_->ended(end, peak, peak_on_gpus);
        stop_.obeyed();
        RunJournal::say_ended(end);
    }
    return finished ? ExitCode::finished : ExitCode::stopped;
}

void Trainer::say_graphs() const
{
    if (!captures_graphs(config_))
        return;
    HeldGraphs held;
    for (const StageChunk& chunk : stage_.chunks()) {
        held.num_graphs += chunk.model->held_graphs().num_graphs;
        held.num_launches += chunk.model->held_graphs().num_launches;
    }
    log_info("rank 0 holds " + std::to_string(held.num_graphs) + " CUDA graphs of " +
             std::to_string(held.num_launches) + " kernels and copies"); // other ranks are silent
}

} // namespace sluice
