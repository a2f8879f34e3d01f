#include "src/train/resume.hpp"

#include "core/error.hpp"
#include "src/train/rewind.hpp"
#include "tests/src/train/checkpoints_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <fstream>
#include <unistd.h>

using namespace sluice;
using testing::Checkpoints;
using testing::is;
namespace fs = std::filesystem;

BOOST_AUTO_TEST_SUITE(resume)

BOOST_AUTO_TEST_CASE(a_run_begins_afresh_where_nothing_is)
{
    Checkpoints checkpoints;
    BOOST_TEST(!checkpoints.choose());
    BOOST_TEST(!checkpoints.choose(ResumeMode::never));
}

BOOST_AUTO_TEST_CASE(a_run_whose_saves_are_gone_does_not_begin_afresh_by_itself)
{
    Checkpoints checkpoints;
    std::ofstream metrics(checkpoints.run / "metrics.jsonl");
    metrics << R"({"event":"start","update":0})"
            << "\n"
            << R"({"event":"update","update":5})" << std::endl;
    BOOST_TEST(!checkpoints.choose()); // it died before its first save
    metrics << R"({"event":"checkpoint","update":8})" << std::endl;
    BOOST_CHECK_EXCEPTION(checkpoints.choose(), UserError, [](const UserError& error) {
        return is(error, ExitCode::data, "a save of update 8, and there is no checkpoint");
    });
    BOOST_CHECK_THROW(checkpoints.choose(ResumeMode::path, checkpoints.run.path()), UserError);
    BOOST_TEST(!checkpoints.choose(ResumeMode::never));
    const fs::path put_back = checkpoints.add(8);
    BOOST_TEST((checkpoints.choose() == put_back));
}

BOOST_AUTO_TEST_CASE(the_newest_whole_checkpoint_is_chosen)
{
    Checkpoints checkpoints;
    const fs::path first = checkpoints.add(3), second = checkpoints.add(12);
    BOOST_TEST((checkpoints.choose() == second));
    Checkpoints::damage(second);
    BOOST_TEST((checkpoints.choose() == first));
    Checkpoints::damage(first);
    BOOST_CHECK_EXCEPTION(checkpoints.choose(), UserError, [](const UserError& error) {
        return is(error, ExitCode::data, "every checkpoint of this run is damaged");
    });
}

BOOST_AUTO_TEST_CASE(one_that_a_save_died_replacing_has_its_name_again)
{
    Checkpoints checkpoints;
    const fs::path first = checkpoints.add(3), second = checkpoints.add(12);
    fs::rename(second, replaced_folder(second));
    BOOST_TEST((checkpoints.choose() == second));
    BOOST_TEST(fs::exists(first));
}

BOOST_AUTO_TEST_CASE(reading_a_checkpoint_through_counts_as_moving_on)
{
    // The watch gives a rank that stands its patience for one rank's part of a checkpoint; rank 0
    // alone reads all parts, and those of damaged ones. While training files do not count.
    Checkpoints checkpoints;
    const fs::path first = checkpoints.add(3);
    RankActivity activity;
    checkpoints.alone->publish_into(&activity);
    const auto changes = [&](RankPhase phase, const auto& choose) {
        activity.enter(phase);
        const std::uint64_t before = activity.state().changes;
        choose();
        return activity.state().changes - before;
    };
    const auto by_itself = [&] { checkpoints.choose(); };
    const auto by_path = [&] { checkpoints.choose(ResumeMode::path, first); };
    const auto to_rewind = [&] {
        checkpoint_to_rewind_to(checkpoints.folder, 5, "why", *checkpoints.alone);
    };
    BOOST_TEST(changes(RankPhase::starting, by_path) > changes(RankPhase::training, by_path));
    Checkpoints::damage(checkpoints.add(12));
    BOOST_TEST(changes(RankPhase::starting, by_itself) > changes(RankPhase::training, by_itself));
    BOOST_TEST(changes(RankPhase::starting, to_rewind) > changes(RankPhase::training, to_rewind));
}

BOOST_AUTO_TEST_CASE(what_may_not_be_read_is_not_taken_for_damaged)
{
    Checkpoints checkpoints;
    checkpoints.add(3);
    const fs::path newest = checkpoints.add(12);
    fs::permissions(checkpoints.run.path(),
                    fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
    fs::permissions(newest / "manifest.json", fs::perms::none);
    const uid_t before = geteuid();
    BOOST_REQUIRE(before != 0 || seteuid(65534) == 0); // root may read everything
    const auto refused = [](const UserError& error) {
        return is(error, ExitCode::data, "may not be read: Permission denied");
    };
    BOOST_CHECK_EXCEPTION(checkpoints.choose(), UserError, refused);
    BOOST_REQUIRE(seteuid(before) == 0);
    fs::permissions(newest / "manifest.json", fs::perms::owner_read);
    BOOST_TEST((checkpoints.choose() == newest));
}

BOOST_AUTO_TEST_CASE(never_refuses_a_folder_with_checkpoints)
{
    Checkpoints checkpoints;
    checkpoints.add(3);
    BOOST_CHECK_EXCEPTION(checkpoints.choose(ResumeMode::never), UserError,
                          [](const UserError& error) {
                              return is(error, ExitCode::usage, "already has checkpoints");
                          });
}

BOOST_AUTO_TEST_CASE(the_one_asked_for_must_be_whole_and_the_last)
{
    Checkpoints checkpoints;
    const fs::path first = checkpoints.add(3);
    BOOST_TEST((checkpoints.choose(ResumeMode::path, first) == first));
    const fs::path second = checkpoints.add(12);
    BOOST_CHECK_EXCEPTION(
        checkpoints.choose(ResumeMode::path, first), UserError,
        [](const UserError& error) { return is(error, ExitCode::usage, "mix two histories"); });
    Checkpoints::damage(second);
    BOOST_CHECK_EXCEPTION(checkpoints.choose(ResumeMode::path, second), UserError,
                          [](const UserError& error) {
                              return is(error, ExitCode::data, "this checkpoint cannot be used");
                          });
}

BOOST_AUTO_TEST_CASE(a_run_file_that_changes_the_result_is_refused)
{
    Checkpoints checkpoints;
    const CheckpointReader reader(checkpoints.add(3));
    refuse_changed_result(reader, small());
    refuse_changed_result(reader, small({"checkpoint.keep_last=9"}));
    refuse_changed_result(reader, small({"pipeline.replicas=2"}));
    BOOST_TEST(changed_rounding(reader, small({"checkpoint.keep_last=9"}), {}).empty());
    BOOST_TEST(changed_rounding(reader, small({"pipeline.replicas=2"}), {}).size() == 1u);
    BOOST_CHECK_EXCEPTION(refuse_changed_result(reader, small({"optimizer.lr=0.5", "run.seed=9"})),
                          UserError, [](const UserError& error) {
                              return is(error, ExitCode::usage, "optimizer.lr") &&
                                     is(error, ExitCode::usage, "run.seed");
                          });
}

BOOST_AUTO_TEST_CASE(other_libraries_and_processors_change_the_rounding)
{
    Checkpoints checkpoints;
    const CheckpointReader older(checkpoints.add(3)), reader(checkpoints.add(4, small(), "A"));
    const auto now = [](const std::string& arithmetic) {
        return RunHardware{.arithmetic = arithmetic};
    };
    BOOST_TEST(changed_rounding(reader, small(), now("A")).empty());
    BOOST_TEST(changed_rounding(older, small(), now("A")).empty());
    const auto changed = changed_rounding(reader, small(), now("A | B"));
    BOOST_TEST_REQUIRE(changed.size() == 1u);
    BOOST_TEST(changed.front() == "computed by A when saved, by A | B now");
}

BOOST_AUTO_TEST_CASE(gpus_that_came_or_went_are_not_called_a_change_of_the_run_file)
{
    Checkpoints checkpoints;
    const auto on = [](const std::string& device, const std::string& precision) {
        return small({"run.device=" + device, "precision.compute=" + precision});
    };
    const RunHardware no_gpu{.why_on_cpus = "rank 0 on n1 has no GPU: no GPU is visible",
                             .precision_was_auto = true};
    const CheckpointReader from_gpus(checkpoints.add(3, on("cuda", "bf16")));
    BOOST_CHECK_EXCEPTION(
        refuse_changed_result(from_gpus, on("cpu", "fp32"), no_gpu), UserError,
        [](const UserError& error) {
            BOOST_TEST(error.problem() ==
                       "this run was saved on GPUs in bf16, and this start is on CPUs (rank 0 on "
                       "n1 has no GPU: no GPU is visible), where precision.compute = \"auto\" is "
                       "fp32");
            BOOST_TEST(error.remedy() ==
                       "start it where every rank has a GPU, or add --set precision.compute=bf16 "
                       "to go on on CPUs");
            return error.code() == ExitCode::usage;
        });
    refuse_changed_result(from_gpus, on("cpu", "bf16"), {});
    BOOST_TEST(changed_rounding(from_gpus, on("cpu", "bf16"), {}).size() == 1u);
    // Who wrote fp32 changed something.
    BOOST_CHECK_EXCEPTION(refuse_changed_result(from_gpus, on("cpu", "fp32"), {}), UserError,
                          [](const UserError& error) {
                              return is(error, ExitCode::usage, "the run file differs") &&
                                     is(error, ExitCode::usage, "precision.compute:");
                          });
    const CheckpointReader from_cpus(checkpoints.add(4, on("cpu", "fp32")));
    BOOST_CHECK_EXCEPTION(
        refuse_changed_result(from_cpus,
                              small({"run.device=cuda", "precision.compute=bf16", "run.seed=9"}),
                              {.gpus = {"H200"}, .precision_was_auto = true}),
        UserError, [](const UserError& error) {
            return is(error, ExitCode::usage, "saved on CPUs in fp32, and this start is on GPUs") &&
                   is(error, ExitCode::usage, "run.seed") &&
                   !is(error, ExitCode::usage, "precision.compute:") &&
                   error.remedy().starts_with("add --set run.device=cpu, or add --set "
                                              "precision.compute=fp32 to go on on GPUs; and undo");
        });
}

BOOST_AUTO_TEST_SUITE_END()
