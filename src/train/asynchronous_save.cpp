#include "src/train/asynchronous_save.hpp"

#include "core/error.hpp"
#include "pipeline/agreement.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

namespace {

/// Counts the time until its end as one in which training stands still.
class Stall {
public:
    explicit Stall(double& seconds) : seconds_(seconds) {}
    ~Stall() { seconds_ += watch_.seconds(); }
    Stall(const Stall&) = delete;
    Stall& operator=(const Stall&) = delete;

private:
    double& seconds_;
    Stopwatch watch_;
};

} // namespace

AsynchronousSave::AsynchronousSave(std::filesystem::path checkpoints, Stage& stage,
                                   const Replicas& replicas, const RunConfig& config,
                                   std::function<void()> before_completion)
    : checkpoints_(std::move(checkpoints)), replicas_(replicas), config_(config),
      before_completion_(std::move(before_completion)), snapshot_(stage, replicas)
{
}

void AsynchronousSave::begin(const CheckpointProgress& progress)
{
    SLUICE_CHECK(!under_way(), "update " << update() << " is still being saved");
    saved_ = {.update = progress.update, .parameters_digest = {}};
    begun_ = {};
    const Stall stall(saved_.stall_seconds);
    folders_.emplace(checkpoints_, progress.update);
    make_partial_folder(replicas_.world(), *folders_);
    snapshot_.take(progress, config_);
    phase_ = Phase::stages;
    write_stages();
}

void AsynchronousSave::write_stages()
{
    mine_ = {};
    if (replicas_.index() > 0)
        return;
    const Transport& pipeline = replicas_.pipeline();
    const int stage = pipeline.rank(), num_stages = pipeline.num_ranks();
    task_.start([this, stage, num_stages] {
        snapshot_.wait();
        mine_.entry = write_stage_file(folders_->partial, stage, num_stages, snapshot_.contents());
    });
}

void AsynchronousSave::complete()
{
    if (replicas_.world().rank() == 0)
        task_.start([this] {
            before_completion_();
            saved_.parameters_digest = complete_checkpoint(*folders_, stages_, config_);
        });
}

std::optional<SavedCheckpoint> AsynchronousSave::advance()
{
    SLUICE_CHECK(under_way(), "nothing is being saved");
    {
        const Stall stall(saved_.stall_seconds);
        Transport& world = replicas_.world();
        const Phase done = std::exchange(phase_, Phase::none);
        try {
            agree(world, [this] { task_.wait(); });
        } catch (const UserError&) {
            drop_partial_folder(world, *folders_);
            throw;
        }
        if (done == Phase::stages) {
            mine_.seconds = task_.seconds();
            stages_ = gather_stages(replicas_, mine_);
            for (const WrittenStage& stage : stages_)
                saved_.write_seconds = std::max(saved_.write_seconds, stage.seconds);
            phase_ = Phase::completion;
            complete();
            return std::nullopt;
        }
    }
    saved_.write_seconds += task_.seconds(); // rank 0's, which speaks
    saved_.seconds = begun_.seconds();
    return saved_;
}

SavedCheckpoint AsynchronousSave::finish()
{
    for (;;)
        if (auto saved = advance())
            return *std::move(saved);
}

} // namespace sluice
