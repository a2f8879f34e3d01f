#include "src/train/evaluation_plan.hpp"

#include "core/error.hpp"
#include "src/plan/candidate.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

RunConfig deep_run(std::int64_t micro_batch_size, const std::vector<std::string>& others = {})
{
    std::vector<std::string> overrides{"run.device=cpu", "model.num_layers=64",
                                       "model.hidden_size=64", "model.intermediate_size=96",
                                       "batch.global_batch_size=32"};
    overrides.insert(overrides.end(), others.begin(), others.end());
    return test::small_run(overrides, micro_batch_size);
}

std::size_t bytes_of(const RunPlan& plan) { return total_bytes(plan.rank_memory(0)); }

} // namespace

BOOST_AUTO_TEST_SUITE(evaluation_plan)

BOOST_AUTO_TEST_CASE(weights_and_one_layer_are_all_it_takes)
{
    const RunConfig config = deep_run(2);
    const RunPlan training = plan_run(config, 1);
    const StageMemory trains = training.rank_memory(0);
    const StageMemory evaluates = plan_evaluation(config, 7).rank_memory(0);
    BOOST_TEST(evaluates.parameter_bytes == trains.parameter_bytes);
    BOOST_TEST(evaluates.gradient_bytes == 0u);
    BOOST_TEST(evaluates.optimizer_bytes == 0u);
    BOOST_TEST(evaluates.transfer_bytes == 0u);
    BOOST_TEST(evaluates.exchange_bytes == 0u);
    BOOST_TEST(evaluates.snapshot_bytes == 0u);
    BOOST_TEST(64 * evaluates.activation_bytes < trains.activation_bytes);
}

BOOST_AUTO_TEST_CASE(how_it_was_trained_does_not_matter)
{
    const std::size_t bytes = bytes_of(plan_evaluation(deep_run(2), 1));
    for (const char* other :
         {"pipeline.replicas=2", "pipeline.schedule=zb-v", "checkpoint.asynchronous=true",
          "pipeline.recompute=full", "batch.global_batch_size=12"})
        BOOST_TEST(bytes_of(plan_evaluation(deep_run(2, {other}), 3)) == bytes, other);
}

BOOST_AUTO_TEST_CASE(a_stage_takes_what_was_planned)
{
    const RunPlan plan = plan_evaluation(deep_run(2), 3);
    const Stage stage(plan.stage, plan.program, plan.slots, plan.partition);
    BOOST_TEST(stage.memory().total_bytes() == plan.rank_memory(0).total_bytes());
    BOOST_TEST(stage.chunks().front().model->memory().own_bytes() <=
               plan.rank_memory(0).total_bytes());
}

BOOST_AUTO_TEST_CASE(a_refusal_names_a_batch_that_fits)
{
    const RunConfig config = deep_run(16);
    const RunPlan plan = plan_evaluation(config, 1);
    const std::size_t bytes = bytes_of(plan);
    BOOST_CHECK_NO_THROW(refuse_evaluation_unless_it_fits(config, plan, bytes));
    const auto remedy_of = [&](std::size_t limit) {
        try {
            refuse_evaluation_unless_it_fits(config, plan, limit);
        } catch (const UserError& error) {
            BOOST_CHECK(error.code() == ExitCode::usage);
            BOOST_TEST(error.problem().find("the evaluation does not fit") == 0u);
            BOOST_TEST(error.where() == "16 sequences of 8 tokens at once");
            return error.remedy();
        }
        return std::string();
    };
    BOOST_TEST(remedy_of(bytes - 1).find("--batch-size 8 would fit (") == 0u);
    const std::size_t of_two = bytes_of(plan_evaluation(deep_run(2), 1));
    BOOST_TEST(remedy_of(of_two).find("--batch-size 2 would fit (") == 0u);
    BOOST_TEST(remedy_of(1000) ==
               "not even one sequence at a time fits: take a machine with more memory");
}

BOOST_AUTO_TEST_SUITE_END()
