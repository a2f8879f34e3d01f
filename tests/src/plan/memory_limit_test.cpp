#include "src/plan/memory_limit.hpp"

#include "core/error.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/fitting_changes.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(memory_limit)

BOOST_AUTO_TEST_CASE(a_run_that_fits_is_let_pass)
{
    const RunConfig config = test::small_run();
    const RunPlan plan = plan_run(config, 2);
    const std::size_t peak =
        std::max(total_bytes(plan.rank_memory(0)), total_bytes(plan.rank_memory(1)));
    BOOST_CHECK_NO_THROW(refuse_unless_it_fits(config, plan, peak));
    BOOST_CHECK_THROW(refuse_unless_it_fits(config, plan, peak - 1), UserError);
}

BOOST_AUTO_TEST_CASE(a_refusal_says_what_takes_the_memory_and_what_would_fit)
{
    const RunConfig config = test::small_run({"pipeline.schedule=gpipe"}, 2);
    const RunPlan plan = plan_run(config, 2);
    const std::size_t limit = peak_of(plan).bytes - 1;
    const auto changes = changes_that_fit(config, 2, limit);
    BOOST_REQUIRE(!changes.empty());
    BOOST_CHECK_EXCEPTION(
        refuse_unless_it_fits(config, plan, limit), UserError, [&](const UserError& error) {
            const std::string& problem = error.problem();
            return problem.starts_with("the run does not fit: rank ") &&
                   problem.find("activations") != std::string::npos &&
                   error.remedy().starts_with("what would fit: " + changes[0].overrides) &&
                   error.code() == ExitCode::usage;
        });
}

BOOST_AUTO_TEST_CASE(a_copy_for_saves_is_taken_where_it_fits)
{
    RunConfig config = test::small_run({}, 2);
    RunPlan plan = plan_run(config, 2);
    std::size_t without = 0, with = 0;
    for (int rank = 0; rank < 2; ++rank) {
        const StageMemory memory = plan.rank_memory(rank);
        BOOST_TEST(memory.snapshot_bytes == 0u);
        without = std::max(without, total_bytes(memory));
        with = std::max(with, total_bytes(memory) + 3 * memory.parameter_bytes);
    }
    for (const std::size_t limit : {with, with - 1}) {
        RunConfig settled = config;
        RunPlan settled_plan = plan;
        settle_saves(settled, settled_plan, limit);
        const bool fits = limit == with;
        BOOST_TEST(settled_plan.stage.snapshot == fits);
        BOOST_TEST((settled.checkpoint.asynchronous == Switch::on) == fits);
        BOOST_TEST((settled.checkpoint.asynchronous == Switch::off) == !fits);
        BOOST_CHECK_NO_THROW(refuse_unless_it_fits(settled, settled_plan, limit));
    }
    // Who asks for it is told what it costs, and how to do without.
    config = test::small_run({"checkpoint.asynchronous=true"}, 2);
    plan = plan_run(config, 2);
    BOOST_CHECK_NO_THROW(refuse_unless_it_fits(config, plan, with));
    BOOST_CHECK_EXCEPTION(refuse_unless_it_fits(config, plan, without), UserError,
                          [](const UserError& error) {
                              return error.problem().find("copy for saves") != std::string::npos &&
                                     error.remedy().starts_with(
                                         "what would fit: --set checkpoint.asynchronous=false (");
                          });
    // Other replicas write nothing.
    StageOptions second = plan.stage;
    second.moments = {1, 2};
    BOOST_TEST(plan_memory(second, plan.program, plan.slots, plan.partition).snapshot_bytes == 0u);
}

BOOST_AUTO_TEST_CASE(a_refusal_counts_all_ranks)
{
    const RunConfig config = test::small_run({"pipeline.replicas=2"});
    const RunPlan plan = plan_run(config, 2);
    BOOST_CHECK_EXCEPTION(
        refuse_unless_it_fits(config, plan, 1000), UserError,
        [](const UserError& error) { return error.where() == "layout of 4 ranks"; });
}

BOOST_AUTO_TEST_CASE(nothing_helps_a_model_that_is_too_large)
{
    const RunConfig config = test::small_run();
    BOOST_CHECK_EXCEPTION(refuse_unless_it_fits(config, plan_run(config, 2), 1000), UserError,
                          [](const UserError& error) {
                              return error.remedy().find("make the model smaller") !=
                                     std::string::npos;
                          });
}

BOOST_AUTO_TEST_SUITE_END()
