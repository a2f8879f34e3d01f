#include "src/train/run_folder.hpp"

#include "core/durable_file.hpp"
#include "core/logging.hpp"
#include "io/status_file.hpp"
#include "src/config/run_config.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <memory>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace sluice;
using testing::TemporaryFolder;

namespace {

bool file_system_locks = true;

bool says(const RunFolder& folder, const std::string& word)
{
    return folder.status_text().find(word) != std::string::npos;
}

} // namespace

/// In place of the C library's, for this whole program.
extern "C" int flock(int descriptor, int operation) noexcept
{
    if (file_system_locks)
        return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
    errno = ENOSYS;
    return -1;
}

BOOST_AUTO_TEST_SUITE(run_folder)

// As on Lustre, mounted without -o flock.
BOOST_AUTO_TEST_CASE(a_file_system_without_locks_is_warned_of)
{
    const TemporaryFolder scratch;
    const auto log = scratch / "log.txt";
    RunFolder folder(scratch / "run"), other(scratch / "run");
    file_system_locks = false;
    log_to_file(log);
    folder.create_and_lock();
    other.create_and_lock();
    file_system_locks = true;
    BOOST_TEST(testing::contains(read_file(log), "cannot be locked"));
    BOOST_TEST(testing::contains(read_file(log), "Function not implemented (flock)"));
}

BOOST_AUTO_TEST_CASE(an_earlier_jobs_status_is_replaced)
{
    const TemporaryFolder scratch;
    RunFolder folder(scratch.path());
    write_status(folder.status(), "failed", 3, "an earlier job", 70);
    folder.create_and_lock();
    folder.tell("running", 3, "", 0);
    BOOST_TEST(says(folder, "running"));
    folder.tell("finished", 9, "all updates done", 0);
    BOOST_TEST(says(folder, "finished"));
}

BOOST_AUTO_TEST_CASE(what_a_job_writes_on_its_way_out_is_an_earlier_jobs_status)
{
    const TemporaryFolder scratch;
    auto leaving = std::make_unique<RunFolder>(scratch.path());
    leaving->create_and_lock();
    leaving->tell("running", 3, "", 0);
    RunFolder folder(scratch.path());
    std::thread leaves([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        write_status(leaving->status(), "failed", 3, "rank 1 died", 71);
        leaving.reset();
    });
    folder.create_and_lock(); // waits for it
    leaves.join();
    folder.tell("running", 3, "", 0);
    BOOST_TEST(says(folder, "running"));
    std::filesystem::remove(folder.path() / ".lock");
    BOOST_TEST(testing::contains(folder.keep_lock(), "it is locked again"));
}

BOOST_AUTO_TEST_CASE(a_status_that_was_deleted_is_written_again)
{
    const TemporaryFolder scratch;
    RunFolder folder(scratch.path());
    folder.tell("running", 3, "", 0);
    std::filesystem::remove(folder.status());
    folder.tell("finished", 9, "all updates done", 0);
    BOOST_TEST(says(folder, "finished"));
}

BOOST_AUTO_TEST_CASE(a_deleted_lock_is_made_again_unless_another_run_has_it)
{
    const TemporaryFolder scratch;
    RunFolder ours(scratch.path() / "run"), theirs(scratch.path() / "run");
    ours.create_and_lock();
    BOOST_TEST(ours.keep_lock() == "");
    std::filesystem::remove(ours.path() / ".lock");
    BOOST_TEST(testing::contains(ours.keep_lock(), "it is locked again"));
    BOOST_TEST(ours.keep_lock() == "");
    BOOST_TEST(!theirs.lock());
    std::filesystem::remove(ours.path() / ".lock");
    ours.tell("running", 2, "", 0);
    write_file_durably(ours.status(), ours.status_text() + "\n"); // by an editor
    BOOST_TEST(theirs.lock());                                    // `sluice checkpoint prune`, say
    BOOST_TEST(testing::contains(ours.keep_lock(), "has locked the run folder"));
    BOOST_TEST(ours.keep_lock() == ""); // said once
    BOOST_TEST(!ours.was_taken());
    theirs.tell("running", 3, "", 0);
    BOOST_TEST(testing::contains(testing::message_of([&] { ours.keep_lock(); }),
                                 "another run has this run folder since"));
    BOOST_TEST(ours.was_taken());
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_moved_for_a_while_stays_locked)
{
    const TemporaryFolder scratch;
    RunFolder ours(scratch.path() / "run"), theirs(scratch.path() / "run");
    ours.create_and_lock();
    for (int time = 0; time < 2; ++time) {
        std::filesystem::rename(ours.path(), scratch.path() / "moved");
        BOOST_TEST(testing::contains(ours.keep_lock(), "the run folder is gone"));
        BOOST_TEST(ours.keep_lock() == "");
        std::filesystem::rename(scratch.path() / "moved", ours.path());
        BOOST_TEST(ours.keep_lock() == "");
    }
    BOOST_TEST(!theirs.lock());
}

BOOST_AUTO_TEST_CASE(a_run_goes_on_by_the_config_in_its_folder)
{
    const TemporaryFolder scratch;
    const RunFolder folder(scratch.path());
    BOOST_TEST(run_dir_of("first.toml", "") == "runs/first");
    BOOST_TEST(run_dir_of("first.toml", "there") == "there");
    write_file_durably(folder.config(), "# mine\n");
    BOOST_TEST(run_dir_of(folder.config().string(), "") == "runs/config");
    write_file_durably(folder.metrics(), "");
    BOOST_TEST(run_dir_of(folder.config().string(), "") == folder.path());
    BOOST_TEST(run_dir_of(folder.config().string(), "there") == "there");
    BOOST_TEST(run_dir_of((folder.path() / "run.toml").string(), "") == "runs/run");
}

BOOST_AUTO_TEST_CASE(a_config_of_somebody_stays_beside_that_of_the_run)
{
    const TemporaryFolder scratch;
    const RunFolder folder(scratch.path());
    const std::string resolved = std::string(resolved_toml_heading) + "\n[model]\n";
    const std::filesystem::path other = folder.config().string() + ".other";
    folder.write_config(resolved);
    folder.write_config(resolved + "[run]\n");
    BOOST_TEST(!std::filesystem::exists(other));
    write_file_durably(folder.config(), "# mine\n");
    folder.write_config(resolved);
    BOOST_TEST(read_file(other) == "# mine\n");
    BOOST_TEST(read_file(folder.config()) == resolved);
}

BOOST_AUTO_TEST_CASE(a_status_that_somebody_touched_is_replaced)
{
    const TemporaryFolder scratch;
    RunFolder folder(scratch.path());
    folder.tell("running", 3, "", 0);
    write_file_durably(folder.status(), folder.status_text() + "\n");
    folder.tell("stopped", 9, "stopped by a STOP file", 75);
    BOOST_TEST(says(folder, "stopped"));
    write_file_durably(folder.status(), "no JSON");
    folder.tell("running", 9, "", 0);
    BOOST_TEST(says(folder, "running"));
}

// As after SIGCONT, which mpirun sends before it ends a rank that had been stopped.
BOOST_AUTO_TEST_CASE(what_another_rank_has_said_of_this_job_stays)
{
    const TemporaryFolder scratch;
    RunFolder folder(scratch.path());
    folder.create_and_lock();
    folder.tell("running", 0, "", 0);
    write_status(folder.status(), "failed", 2, "rank 0 hangs", 71);
    folder.tell("running", 4, "", 0);
    folder.tell("finished", 9, "all updates done", 0);
    BOOST_TEST(says(folder, "rank 0 hangs"));
}

BOOST_AUTO_TEST_CASE(only_what_is_called_running_can_have_ended_without_a_word)
{
    const TemporaryFolder scratch;
    const RunFolder folder(scratch.path());
    folder.tell_ended_without_a_word("killed"); // before there is a status
    BOOST_TEST(folder.status_text() == "");
    write_status(folder.status(), "running", 3, "", 0);
    folder.tell_ended_without_a_word("killed");
    const auto status = read_status(folder.status());
    BOOST_TEST_REQUIRE(status.has_value());
    BOOST_TEST(status->state == "failed");
    BOOST_TEST(status->update == 3);
    BOOST_TEST(status->reason == "killed");
    BOOST_TEST(status->exit_code == 71);
    write_status(folder.status(), "stopped", 4, "stopped by SIGINT", 75);
    folder.tell_ended_without_a_word("killed");
    BOOST_TEST(says(folder, "stopped by SIGINT"));
}

BOOST_AUTO_TEST_CASE(the_lock_says_whose_it_is)
{
    const TemporaryFolder scratch;
    RunFolder folder(scratch.path());
    BOOST_TEST(!folder.is_held_here());
    folder.create_and_lock();
    BOOST_TEST(folder.is_held_here());
    BOOST_TEST(
        read_file(scratch / ".lock").starts_with("process " + std::to_string(getpid()) + " on "));
}

BOOST_AUTO_TEST_CASE(a_run_that_is_on_its_way_out_is_waited_for)
{
    const TemporaryFolder scratch;
    auto before = std::make_unique<RunFolder>(scratch.path());
    before->create_and_lock();
    RunFolder next(scratch.path());
    BOOST_TEST(!next.lock());
    std::thread leaving([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        before.reset();
    });
    RunFolder patient(scratch.path());
    patient.create_and_lock();
    leaving.join();
    BOOST_TEST(!next.lock());
}

BOOST_AUTO_TEST_SUITE_END()
