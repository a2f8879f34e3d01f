#include "src/plan/candidate.hpp"

#include "core/error.hpp"
#include "src/process/process_memory.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

CostModel flop_costs(const RunConfig& config)
{
    return costs_from_flops(config.model, {config.batch.micro_batch_size, config.batch.seq_len});
}

Candidate made_up(PipelineScheduleKind schedule, double seconds, std::size_t bytes)
{
    Candidate candidate;
    candidate.layout.schedule = schedule;
    candidate.seconds_per_update = seconds;
    candidate.peak_bytes = bytes;
    return candidate;
}

} // namespace

BOOST_AUTO_TEST_SUITE(candidate)

// The promise behind every figure: what is planned is what is taken.
BOOST_AUTO_TEST_CASE(planned_memory_is_what_a_stage_takes)
{
    const RunConfig config = test::small_run();
    for (const int num_ranks : {1, 2, 3})
        for (const PipelineConfig& layout : possible_layouts(config, num_ranks)) {
            RunConfig with = config;
            with.pipeline = layout;
            with.pipeline.recompute =
                layout.chunks_per_rank == 1 ? Recompute::lean : Recompute::full;
            const RunPlan plan = plan_run(with, num_ranks);
            const Candidate candidate = price(with, plan, flop_costs(config));
            std::size_t peak = 0;
            for (int rank = 0; rank < num_ranks; ++rank) {
                StageOptions options = plan.stage;
                options.rank = rank;
                const Stage stage(options, plan.program, plan.slots, plan.partition);
                const StageMemory& planned = candidate.memory[static_cast<std::size_t>(rank)];
                BOOST_TEST(planned.total_bytes() == stage.memory().total_bytes());
                peak = std::max(peak, stage.memory().total_bytes() + program_bytes);
            }
            BOOST_TEST(candidate.peak_bytes == peak);
        }
}

BOOST_AUTO_TEST_CASE(times_are_those_of_the_simulation, *boost::unit_test::tolerance(1e-9))
{
    const RunConfig config = test::small_run();
    const CostModel costs = flop_costs(config);
    for (const Candidate& candidate : price_all(config, 3, costs, unlimited_bytes)) {
        RunConfig with = config;
        with.pipeline = candidate.layout;
        const RunPlan plan = plan_run(with, 3);
        const double simulated = simulate(plan.program, costs_of_chunks(plan, costs)).total;
        BOOST_TEST(candidate.idle.total == simulated + barrier_seconds(costs, 3));
        BOOST_TEST(candidate.seconds_per_update ==
                   candidate.idle.total + candidate.optimizer_seconds);
        BOOST_TEST(candidate.optimizer_seconds > 0.0);
        for (std::size_t rank = 0; rank < 3; ++rank)
            BOOST_TEST(candidate.idle.busy[rank] + candidate.idle.ranks[rank].idle() ==
                       candidate.idle.total);
        BOOST_TEST(candidate.ideal_seconds <= simulated);
        BOOST_TEST(candidate.busy_share() <= candidate.partition_bound);
    }
}

BOOST_AUTO_TEST_CASE(a_gpu_is_counted_with_its_own_rates)
{
    RunConfig config = test::small_run();
    BOOST_CHECK_EQUAL(assumed_rates(config).flops_per_second, cpu_rates.flops_per_second);
    config.run.device = "cuda";
    BOOST_CHECK_EQUAL(assumed_rates(config).flops_per_second, gpu_rates.flops_per_second);
    // A copy for saves lies in the host's memory, not in the GPU's.
    config.checkpoint.asynchronous = Switch::on;
    BOOST_CHECK_EQUAL(plan_run(config, 1).rank_memory(0).snapshot_bytes, 0u);
    config.run.device = "cpu";
    BOOST_CHECK_GT(plan_run(config, 1).rank_memory(0).snapshot_bytes, 0u);
}

BOOST_AUTO_TEST_CASE(replicas_share_micro_batches_and_moments)
{
    const RunConfig one = test::small_run(), two = test::small_run({"pipeline.replicas=2"});
    const CostModel costs = flop_costs(one);
    const Candidate alone = price(one, plan_run(one, 3), costs);
    const Candidate shared = price(two, plan_run(two, 3), costs);
    BOOST_TEST(shared.ideal_seconds == alone.ideal_seconds / 2);
    BOOST_TEST(shared.optimizer_seconds == alone.optimizer_seconds / 2);
    BOOST_TEST(shared.idle.mean().barrier > alone.idle.mean().barrier);
    BOOST_TEST(shared.memory[0].optimizer_bytes < alone.memory[0].optimizer_bytes);
    BOOST_TEST(possible_layouts(two, 3).size() == possible_layouts(one, 3).size());
}

// Every layout recomputes only as much as it must to fit.
BOOST_AUTO_TEST_CASE(recomputation_only_where_memory_is_short)
{
    const RunConfig config = test::small_run();
    const CostModel costs = flop_costs(config);
    for (const Candidate& candidate : price_all(config, 2, costs, unlimited_bytes))
        BOOST_TEST((candidate.layout.recompute == Recompute::none));

    const auto with = [&](Recompute recompute) {
        RunConfig changed = config;
        changed.pipeline.recompute = recompute;
        return price(changed, plan_run(changed, 2), costs);
    };
    const Candidate none = with(Recompute::none), lean = with(Recompute::lean),
                    full = with(Recompute::full);
    BOOST_TEST(none.peak_bytes > lean.peak_bytes);
    BOOST_TEST(lean.peak_bytes > full.peak_bytes);
    BOOST_TEST(none.seconds_per_update < lean.seconds_per_update);
    BOOST_TEST(lean.seconds_per_update < full.seconds_per_update);
    const auto short_of_memory = price_all(config, 2, costs, lean.peak_bytes);
    BOOST_TEST(short_of_memory[0].asked);
    BOOST_TEST(!short_of_memory[0].fits(lean.peak_bytes));
    BOOST_TEST((short_of_memory[1].layout.schedule == config.pipeline.schedule));
    BOOST_TEST((short_of_memory[1].layout.recompute == Recompute::lean));
    BOOST_TEST(short_of_memory[1].seconds_per_update == lean.seconds_per_update);
}

BOOST_AUTO_TEST_CASE(layouts_that_the_layers_allow)
{
    const RunConfig config = test::small_run();
    const auto names = [&](int num_ranks) {
        std::string text;
        for (const PipelineConfig& layout : possible_layouts(config, num_ranks)) {
            text += text.empty() ? "" : " ";
            text += std::to_string(static_cast<int>(layout.schedule)) + ":" +
                    std::to_string(layout.chunks_per_rank) + ":" +
                    std::to_string(layout.extra_warmup);
        }
        return text;
    };
    // 6 layers: two chunks on each of three ranks at most.
    BOOST_TEST(names(3).find("2:2:0") != std::string::npos);
    BOOST_TEST(names(3).find("2:4:0") == std::string::npos);
    BOOST_TEST(names(2).find("2:4:0") == std::string::npos);
    BOOST_TEST(names(4).find(":2:") == std::string::npos);
    BOOST_TEST(names(1).find(":2:") == std::string::npos);
    BOOST_TEST(names(3).starts_with("1:1:0 ")); // the run file's own comes first, once
    BOOST_TEST(names(3).find(" 1:1:0") == std::string::npos);
    // A partition by hand settles the number of chunks.
    const RunConfig by_hand = test::small_run({"pipeline.partition=2,2,2"});
    for (const PipelineConfig& layout : possible_layouts(by_hand, 3))
        BOOST_TEST(layout.chunks_per_rank == 1);
}

BOOST_AUTO_TEST_CASE(the_recommendation_weighs_time_memory_and_simplicity)
{
    using enum PipelineScheduleKind;
    const std::vector<Candidate> candidates{made_up(gpipe, 2.00, 90), made_up(zb_v, 1.00, 100),
                                            made_up(one_f_one_b, 1.009, 80),
                                            made_up(zb_h1, 1.005, 80), made_up(v_half, 1.02, 10)};
    // Within 1% of the fastest the least memory; equal there, the simpler.
    BOOST_TEST((recommended(candidates, unlimited_bytes) == &candidates[2]));
    BOOST_TEST((recommended(candidates, 79) == &candidates[4]));
    BOOST_TEST((recommended(candidates, 9) == nullptr));
    BOOST_TEST((recommended({}, unlimited_bytes) == nullptr));
}

BOOST_AUTO_TEST_CASE(auto_becomes_what_is_recommended)
{
    const RunConfig automatic = test::small_run({"pipeline.schedule=auto"});
    const RunConfig resolved = resolve_auto(automatic, 3, unlimited_bytes);
    BOOST_TEST((resolved.pipeline.schedule != PipelineScheduleKind::automatic));
    const auto candidates = price_all(automatic, 3, flop_costs(automatic), unlimited_bytes);
    for (const Candidate& candidate : candidates)
        BOOST_TEST(!candidate.asked);
    const Candidate* best = recommended(candidates, unlimited_bytes);
    BOOST_TEST((best->layout.schedule == resolved.pipeline.schedule));
    BOOST_TEST(plan_run(resolved, 3).program.num_ranks() == 3);
    BOOST_TEST((resolve_auto(test::small_run(), 3, 0).pipeline.schedule ==
                PipelineScheduleKind::one_f_one_b)); // not auto: as it is
    BOOST_CHECK_THROW(resolve_auto(automatic, 3, 1000), UserError);
}

BOOST_AUTO_TEST_CASE(auto_leaves_a_reserve_where_it_can)
{
    const RunConfig automatic = test::small_run({"pipeline.schedule=auto"});
    const auto peak = [&](std::size_t bytes, std::size_t reserve) {
        const RunConfig resolved = resolve_auto(automatic, 3, bytes, reserve);
        return price(resolved, plan_run(resolved, 3), flop_costs(automatic)).peak_bytes;
    };
    const std::size_t best = peak(unlimited_bytes, 0);
    BOOST_TEST(peak(best, 0) == best);
    BOOST_TEST(peak(best, 1000) <= best - 1000);
    BOOST_TEST(peak(best, best) == best); // rather than refuse
}

BOOST_AUTO_TEST_CASE(overrides_that_can_be_pasted)
{
    const RunConfig config = test::small_run();
    PipelineConfig layout = config.pipeline;
    BOOST_TEST(as_overrides(layout, config.pipeline).empty());
    layout.schedule = PipelineScheduleKind::interleaved_1f1b;
    layout.chunks_per_rank = 2;
    layout.extra_warmup = 1;
    BOOST_TEST(as_overrides(layout, config.pipeline) ==
               "--set pipeline.schedule=interleaved-1f1b --set pipeline.chunks_per_rank=2 "
               "--set pipeline.extra_warmup=1");
    const RunConfig pasted =
        test::small_run({"pipeline.schedule=interleaved-1f1b", "pipeline.chunks_per_rank=2",
                         "pipeline.extra_warmup=1"});
    BOOST_TEST(as_overrides(layout, pasted.pipeline).empty());
}

BOOST_AUTO_TEST_SUITE_END()
