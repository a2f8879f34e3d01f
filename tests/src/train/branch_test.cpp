#include "src/train/branch.hpp"

#include "tests/src/train/checkpoints_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using testing::Checkpoints;
using testing::is;

namespace {

/// As a start does.
std::vector<std::string> leave(const CheckpointReader& trunk, RunConfig config,
                               const RunHardware& hardware = {})
{
    keep_saved_defaults(trunk, config);
    return leave_trunk(trunk, config, hardware);
}

} // namespace

BOOST_AUTO_TEST_SUITE(branch)

BOOST_AUTO_TEST_CASE(a_branch_may_have_another_recipe_and_not_another_model)
{
    Checkpoints checkpoints;
    const CheckpointReader reader(checkpoints.add(3));
    const auto left = [&](const std::vector<std::string>& overrides,
                          const RunHardware& hardware = {}) {
        return leave(reader, small(overrides), hardware);
    };
    BOOST_TEST(left({}).empty());
    const auto changed = left({"optimizer.lr=0.5", "run.updates=2000", "prores.schedule=equal",
                               "lr_schedule.decay_fraction=0.5", "checkpoint.keep_last=9"});
    BOOST_TEST(changed.size() == 5u);
    for (const char* other : {"model.num_layers=5", "batch.global_batch_size=2", "batch.seq_len=8",
                              "precision.compute=fp64"})
        BOOST_CHECK_EXCEPTION(left({other, "optimizer.lr=0.5"}), UserError,
                              [&](const UserError& error) {
                                  const std::string key(other, std::string(other).find('='));
                                  return is(error, ExitCode::usage, key.c_str()) &&
                                         !is(error, ExitCode::usage, "optimizer.lr");
                              });
}

BOOST_AUTO_TEST_CASE(it_tells_where_the_learning_rate_does_not_go_on)
{
    Checkpoints checkpoints;
    const CheckpointReader reader(checkpoints.add(950)); // 50 updates into the decay of 100
    RunConfig same = small(), longer = small({"run.updates=2000"});
    BOOST_TEST(leave(reader, same).empty());
    const auto changed = leave(reader, longer);
    BOOST_TEST_REQUIRE(!changed.empty());
    BOOST_TEST(changed.back() == "learning rate of update 951: 0.0005 as it was, 0.001 now");
}

BOOST_AUTO_TEST_CASE(its_length_counts_from_the_beginning_and_its_warm_up_is_the_trunks)
{
    Checkpoints checkpoints;
    const CheckpointReader reader(checkpoints.add(600));
    RunConfig ended = small({"run.updates=600"}), longer = small({"run.updates=10000"});
    BOOST_CHECK_EXCEPTION(leave(reader, ended), UserError, [](const UserError& error) {
        return is(error, ExitCode::usage, "the checkpoint is of update 600") &&
               error.remedy().find("run.updates = 600") != std::string::npos;
    });
    BOOST_TEST(longer.lr_schedule.warmup_steps != small().lr_schedule.warmup_steps);
    keep_saved_defaults(reader, longer);
    BOOST_TEST(longer.lr_schedule.warmup_steps == small().lr_schedule.warmup_steps);
    // A written one counts, also where it is the default.
    RunConfig written = small({"run.updates=10000", "lr_schedule.warmup_steps=1000"});
    keep_saved_defaults(reader, written);
    BOOST_TEST(written.lr_schedule.warmup_steps == 1000);
}

BOOST_AUTO_TEST_CASE(gpus_that_came_or_went_are_no_change_of_the_run_file)
{
    Checkpoints checkpoints;
    const CheckpointReader from_gpus(
        checkpoints.add(3, small({"run.device=cuda", "precision.compute=bf16"})));
    RunConfig on_cpus = small({"run.device=cpu", "precision.compute=fp32"});
    BOOST_CHECK_EXCEPTION(leave(from_gpus, on_cpus, {.precision_was_auto = true}), UserError,
                          [](const UserError& error) {
                              return is(error, ExitCode::usage, "this run was saved on GPUs") &&
                                     error.remedy().find("--set precision.compute=bf16") !=
                                         std::string::npos;
                          });
}

BOOST_AUTO_TEST_SUITE_END()
