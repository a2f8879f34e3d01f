#include "src/train/rank_run.hpp"

#include "core/cuda/gpu.hpp"
#include "core/durable_file.hpp"
#include "core/host_name.hpp"
#include "core/logging.hpp"
#include "io/status_file.hpp"
#include "layers/kernels/arithmetic.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "pipeline/agreement.hpp"
#include "src/config/validation.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/memory_amount.hpp"
#include "src/plan/memory_limit.hpp"
#include "src/plan/micro_batch_advice.hpp"
#include "src/process/memory_budget.hpp"
#include "src/text/number_text.hpp"
#include "src/train/rank_binding.hpp"
#include "src/train/rank_device.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <thread>

namespace sluice {

RankRun::RankRun(std::unique_ptr<Transport> transport, std::filesystem::path run_dir,
                 std::unique_ptr<StartDeadline> deadline)
    : start_deadline_(std::move(deadline)), transport_(std::move(transport)),
      folder_(std::move(run_dir))
{
    transport_->publish_into(&activity_);
}

/// The watch outlives MPI: a rank that stops before it has left would keep the others in there.
RankRun::~RankRun()
{
    trainer_.reset();
    replicas_.reset();
    links_.reset();
    compute_.reset();
    transport_->publish_into(nullptr);
    transport_.reset();
}

int RankRun::go(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
                const FaultInjection& fault)
{
    try {
        const int code = with_file_errors_in_words(
            [&] { return train_or_refuse(config, resume, stop_after, fault); });
        if (watch_)
            watch_->let_leave();
        return code;
    } catch (const UserError& error) {
        abandon(error.what(), error.code());
    } catch (const PeerError& error) {
        // A library may notice another rank's death before the watch does, which names it.
        if (watch_)
            std::this_thread::sleep_for(std::chrono::seconds(1));
        abandon(error.what(), ExitCode::peer);
    } catch (const std::exception& error) {
        abandon(error.what(), ExitCode::invariant);
    }
}

int RankRun::train_or_refuse(const RunConfig& config, const ResumeRequest& resume,
                             std::int64_t stop_after, const FaultInjection& fault)
{
    try {
        return train(config, resume, stop_after, fault);
    } catch (const AgreedError& error) {
        if (transport_->rank() == 0 && trainer_)
            leave_last_words(error.what(), error.code());
        trainer_.reset(); // ends the progress line
        // Before MPI is left: launchers end the others when the first of them has ended with an
        // error.
        if (transport_->rank() == 0)
            std::fprintf(stderr, "sluice: %s\n", error.what());
        return static_cast<int>(error.code());
    } catch (const WeightsRefused& error) {
        record_refusal(error.what());
        if (transport_->rank() == 0)
            log_error(error.what());
        return static_cast<int>(ExitCode::invariant);
    } catch (const UpdateRefused& error) {
        record_refusal(error.what());
        if (transport_->rank() == 0)
            log_error("update " + std::to_string(trainer_->completed_updates() + 1) + ": " +
                      error.what());
        return static_cast<int>(ExitCode::invariant);
    }
}

int RankRun::train(const RunConfig& config, const ResumeRequest& resume, std::int64_t stop_after,
                   const FaultInjection& fault)
{
    num_replicas_ = config.pipeline.replicas;
    rank_zero_ = text_of_rank_zero(*transport_, FileLock::this_process());
    status_before_ = folder_.status_text();
    watch(config);
    on_rank_zero(*transport_, [&] { folder_.create_and_lock(); });
    // The run that had the folder until now may have written it on its way out.
    status_at_lock_ = folder_.status_text();
    locked_ = true;
    // A client of NFS that has looked for it before may remember for a while that it was not there.
    agree(*transport_, [&] { std::filesystem::create_directories(folder_.checkpoints()); });
    RunConfig settled = config;
    RunHardware hardware{.precision_was_auto = config.precision == ComputePrecision::automatic};
    const std::size_t bytes_of_processor = settle_processor(settled, hardware);
    settle_precision(settled);
    std::string idle_tf32;
    agree(*transport_, [&] {
        refuse_wide_heads(settled, "model.num_heads, model.hidden_size");
        idle_tf32 = refuse_idle_tf32(settled);
    });
    if (transport_->rank() == 0 && !idle_tf32.empty())
        log_warning(idle_tf32);
    const std::size_t bytes_per_rank = prepare_attention(settled, bytes_of_processor);
    hardware.arithmetic = arithmetic_of_all(settled);
    const std::size_t host_bytes_per_rank = least_of_all(*transport_, memory_per_rank());
    RunPlan plan;
    agree(*transport_, [&] {
        const int num_ranks = transport_->num_ranks() / config.pipeline.replicas;
        // NCCL takes its part once the layout is known.
        const std::size_t reserve =
            gpus_alone_ && transport_->num_ranks() > 1 ? bytes_per_rank / 64 : 0;
        settled = resolve_auto(settled, num_ranks, bytes_per_rank, reserve);
        plan = plan_run(settled, num_ranks);
        refuse_without_message(fault, plan);
        settle_saves(settled, plan, host_bytes_per_rank);
        refuse_unless_it_fits(settled, plan, bytes_per_rank);
        if (compute_)
            plan.stage.stream = compute_->stream();
    });
    activity_.expect_checkpoints_of(static_cast<double>(plan.largest_snapshot_bytes()));
    const std::size_t bytes_left = connect(settled, plan, bytes_per_rank);
    hardware.transport = links_->carrier_name();
    agree(*transport_, [&] {
        refuse_unless_it_fits(settled, plan, bytes_left);
        if (transport_->rank() == 0 && status_at_lock_.empty()) // a new run
            if (const auto advice =
                    micro_batch_advice(settled, plan.program.num_ranks(), bytes_left);
                !advice.empty())
                log_info(advice);
        trainer_ = std::make_unique<Trainer>(settled, std::move(plan), folder_, *replicas_);
    });
    trainer_->start(resume, hardware);
    started_ = true;
    announce_binding();
    return static_cast<int>(trainer_->run(stop_after, fault));
}

std::size_t RankRun::connect(const RunConfig& config, const RunPlan& plan,
                             std::size_t bytes_per_rank)
{
    links_ = std::make_unique<GpuLinks>(*transport_, compute_.get(), gpus_alone_, num_replicas_);
    links_->choose(config.pipeline.transport, plan);
    Transport* connected = nullptr;
    agree(*transport_, [&] { connected = &links_->connect(plan); });
    const Replicas::Links by_nccl = links_->by_nccl();
    const bool takes_memory = by_nccl.pipeline || by_nccl.peers;
    const std::size_t before = takes_memory ? free_gpu_bytes() : 0;
    // Not within agree(): where it fails on one rank the others are waiting for that one, and only
    // the end of the job sets them free.
    activity_.enter(takes_memory ? RankPhase::connecting : RankPhase::starting);
    replicas_ = std::make_unique<Replicas>(*connected, num_replicas_, by_nccl);
    activity_.enter(RankPhase::starting);
    if (!takes_memory)
        return bytes_per_rank;
    const std::size_t taken = before - std::min(before, free_gpu_bytes());
    const std::size_t least =
        least_of_all(*transport_, bytes_per_rank - std::min(bytes_per_rank, taken));
    if (transport_->rank() == 0)
        log_info("NCCL has taken " + bytes_text(bytes_per_rank - least) +
                 " of a GPU's memory: a rank may have " + bytes_text(least));
    return least;
}

std::size_t RankRun::settle_processor(RunConfig& config, RunHardware& hardware)
{
    const RankDevice device = settle_device(config, *transport_);
    hardware.gpus = device.gpus;
    hardware.why_on_cpus = device.why_on_cpus.reason;
    gpus_alone_ = device.all_alone;
    if (!device.is_gpu())
        return least_of_all(*transport_, memory_per_rank());
    // What is free is asked once all ranks that share a GPU have what no plan counts: the driver's
    // own, products' workspace.
    agree(*transport_, [&] {
        Stream planned = planned_stream(config);
        planned.device = device.device;
        compute_ = std::make_unique<ComputeStream>(planned);
    });
    std::size_t free_bytes = 0;
    agree(*transport_, [&] { free_bytes = free_gpu_bytes(); });
    warn_of_taken_gpus(free_bytes);
    return least_of_all(*transport_, free_bytes / static_cast<std::size_t>(device.num_sharing));
}

void RankRun::warn_of_taken_gpus(std::size_t free_bytes)
{
    std::vector<std::size_t> of_rank;
    for (const std::string& text : transport_->gather_text(std::to_string(free_bytes)))
        of_rank.push_back(std::stoull(text));
    const auto [least, most] = std::ranges::minmax_element(of_rank);
    const std::vector<std::string> nodes = transport_->gather_text(host_name());
    if (transport_->rank() != 0 || *least >= *most / 10 * 9)
        return;
    const auto poorest = static_cast<std::size_t>(least - of_rank.begin());
    log_warning(name_of(static_cast<int>(poorest)) + " on " + nodes[poorest] + " finds " +
                bytes_text(*least) + " of its GPU free, others up to " + bytes_text(*most) +
                ": something else is on it (see nvidia-smi there), and all ranks make do with the "
                "least");
}

std::size_t RankRun::prepare_attention(const RunConfig& config, std::size_t bytes_per_rank)
{
    if (!compute_ || config.attention == AttentionKernels::own)
        return bytes_per_rank;
    kernels::CudnnAttention found;
    agree(*transport_, [&] {
        found =
            kernels::prepare_cudnn_attention(compute_->stream(), element_types(config).compute,
                                             {config.batch.micro_batch_size, config.batch.seq_len,
                                              config.model.num_heads, config.model.head_dim()});
    });
    const std::vector<std::string> of_rank = transport_->gather_text(found.in_words);
    agree(*transport_, [&] {
        for (std::size_t rank = 1; rank < of_rank.size(); ++rank)
            if (of_rank[rank] != of_rank.front())
                throw usage_error("ranks have attention by different libraries: rank 0 " +
                                      of_rank.front() + ", rank " + std::to_string(rank) + " " +
                                      of_rank[rank],
                                  "precision.attention",
                                  "use nodes with one version of cuDNN, or write attention = "
                                  "\"own\"");
    });
    if (transport_->rank() == 0)
        log_info("attention by " + found.in_words + ", with " + bytes_text(found.workspace_bytes) +
                 " of scratch memory");
    return least_of_all(*transport_,
                        bytes_per_rank - std::min(bytes_per_rank, found.workspace_bytes));
}

std::string RankRun::arithmetic_of_all(const RunConfig& config)
{
    std::string mine;
    agree(*transport_, [&] {
        mine = kernels::arithmetic_in_words(compute_ ? compute_->stream().device : Device{},
                                            element_types(config).compute);
        if (compute_ && config.attention == AttentionKernels::cudnn)
            mine += ", " + kernels::cudnn_version();
    });
    std::map<std::string, std::size_t> first_rank; // of each text
    const std::vector<std::string> of_rank = transport_->gather_text(mine);
    for (std::size_t rank = 0; rank < of_rank.size(); ++rank)
        first_rank.try_emplace(of_rank[rank], rank);
    std::string all;
    std::string told;
    for (const auto& [text, rank] : first_rank) {
        all += (all.empty() ? "" : " | ") + text;
        told += (told.empty() ? "" : "; rank ") + std::to_string(rank) + ": " + text;
    }
    if (transport_->rank() == 0 && first_rank.size() > 1)
        log_warning("ranks round in different ways, so the result depends on which of them has "
                    "which layers: rank " +
                    told);
    return all;
}

void RankRun::watch(const RunConfig& config)
{
    Watchdog::Options options{.hang_seconds = config.run.hang_seconds,
                              .on_alarm = [this](const Alarm& alarm) { end_by(alarm); }};
    for (int rank = 0; rank < transport_->num_ranks(); ++rank)
        options.rank_name.push_back(name_of(rank));
    watch_ = std::make_unique<Watchdog>(*transport_, activity_, std::move(options));
    start_deadline_.reset();
    const std::vector<int>& unwatched = watch_->unwatched();
    if (transport_->rank() == 0 && !unwatched.empty())
        log_warning(std::to_string(unwatched.size()) + " rank(s), the first of them " +
                    name_of(unwatched.front()) +
                    ", cannot open a TCP connection to the ranks that watch: nobody would "
                    "notice if they hang");
}

std::string RankRun::name_of(int rank) const
{
    const std::string name = "rank " + std::to_string(rank);
    if (num_replicas_ == 1)
        return name;
    const int replica = rank / (transport_->num_ranks() / num_replicas_);
    return "replica " + std::to_string(replica) + ", " + name;
}

void RankRun::announce_binding()
{
    if (transport_->num_ranks() == 1)
        return;
    std::vector<RankBinding> of_rank;
    for (const std::string& text : transport_->gather_text(to_text(binding_of_this_rank())))
        of_rank.push_back(binding_from(text));
    if (transport_->rank() == 0)
        for (const std::string& line : binding_lines(of_rank))
            log_info(line);
}

} // namespace sluice
