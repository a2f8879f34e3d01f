// One rank of a run without files: everything of an update but data, metrics and checkpoints.
#pragma once

#include "benchmarks/random_tokens.hpp"
#include "core/compute_stream.hpp"
#include "core/median.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/gradient_exchange.hpp"
#include "pipeline/replicas.hpp"
#include "src/config/run_config.hpp"
#include "src/plan/run_plan.hpp"
#include "src/train/optimizer.hpp"
#include "src/train/update_reduction.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace sluice {

inline double seconds_of(const std::function<void()>& work)
{
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class RankUnderTest {
public:
    RankUnderTest(const RunConfig& config, Transport& world)
        : config_(config), replicas_(world, config.pipeline.replicas),
          plan_(plan_run(config, replicas_.ranks_per_replica())), compute_(plan_.stage.stream),
          stage_(on_this_rank(), plan_.program, plan_.slots, plan_.partition),
          executor_(plan_.program, plan_.slots, stage_, replicas_.pipeline(), VerifyTransfers::yes),
          exchange_(stage_, replicas_.peers(), VerifyTransfers::yes),
          reduction_(config.model, plan_.program, plan_.partition, replicas_, stage_,
                     VerifyTransfers::yes),
          tokens_(config.model.vocab_size)
    {
        if (exchange_.active())
            executor_.exchange_through(exchange_);
        for (StageChunk& chunk : stage_.chunks())
            chunk.model->initialize(1);
    }

    ~RankUnderTest() { drain(compute_.stream()); } // the last step may be queued
    RankUnderTest(const RankUnderTest&) = delete;
    RankUnderTest& operator=(const RankUnderTest&) = delete;

    struct Seconds {
        double forward_backward = 0.0; ///< from when all ranks begin to when all are done
        double update = 0.0;           ///< with zeroing, reduction and optimizer
    };

    /// Collective. `number` counts from 1.
    Seconds update(std::int64_t number)
    {
        Transport& world = replicas_.world();
        Seconds seconds;
        world.barrier();
        seconds.update = seconds_of([&] {
            stage_.zero_gradients();
            world.barrier();
            seconds.forward_backward = seconds_of([&] {
                executor_.run_update(tokens_, loss_scale());
                exchange_.finish();
                world.barrier();
            });
            const UpdateSummary summary =
                reduction_.reduce({.stage = stage_,
                                   .executor = executor_,
                                   .exchange = exchange_,
                                   .completed_updates = 0, // the gates stay where they are
                                   .stop_here = false},
                                  config_.batch.tokens_per_update());
            stage_.make_graphs_ready();
            adamw_step(stage_, config_.optimizer, 1e-4, summary.grad_norm, number);
            exchange_.gather_weights();
            world.barrier();
        });
        world.max({&seconds.forward_backward, 1});
        world.max({&seconds.update, 1});
        return seconds;
    }

    double loss_scale() const
    {
        return 1.0 / static_cast<double>(config_.batch.tokens_per_update());
    }
    const RunConfig& config() const { return config_; }
    const RunPlan& plan() const { return plan_; }
    Stage& stage() { return stage_; }
    Executor& executor() { return executor_; }
    RandomTokens& tokens() { return tokens_; }

private:
    StageOptions on_this_rank() const
    {
        StageOptions options = plan_.stage;
        options.stream = compute_.stream();
        options.rank = replicas_.pipeline().rank();
        options.moments.index = replicas_.index();
        return options;
    }

    RunConfig config_;
    Replicas replicas_;
    RunPlan plan_;
    ComputeStream compute_;
    Stage stage_;
    Executor executor_;
    GradientExchange exchange_;
    UpdateReduction reduction_;
    RandomTokens tokens_;
};

} // namespace sluice
