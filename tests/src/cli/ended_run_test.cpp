#include "src/cli/ended_run.hpp"

#include "core/error.hpp"
#include "io/status_file.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <filesystem>

using namespace sluice;

namespace {

struct Scratch : testing::TemporaryFolder {
    std::filesystem::path status() const { return path() / "status.json"; }
    std::string state() const { return read_status(status())->state; }
};

// As waitpid() gives them on Linux.
int exited(int code) { return code << 8; }
int killed(int signal) { return signal; }

} // namespace

BOOST_AUTO_TEST_SUITE(ended_run)

BOOST_AUTO_TEST_CASE(a_code_of_the_ranks_is_handed_on)
{
    const Scratch scratch;
    write_status(scratch.status(), "running", 3, "", 0);
    for (const int code : {0, 2, 3, 70, 75})
        BOOST_TEST(EndedRun(scratch.path()).exit_code(exited(code), false, false) == code);
    BOOST_TEST(scratch.state() == "running");
}

BOOST_AUTO_TEST_CASE(where_mpirun_lost_the_code_the_status_has_it)
{
    const Scratch scratch;
    EndedRun run(scratch.path());
    write_status(scratch.status(), "stopped", 4, "stopped by SIGTERM", 75);
    BOOST_TEST(run.exit_code(exited(1), false, false) == 75);
    BOOST_TEST(scratch.state() == "stopped");
}

BOOST_AUTO_TEST_CASE(an_earlier_status_says_nothing_of_this_run)
{
    const Scratch scratch;
    write_status(scratch.status(), "finished", 4, "all updates done", 0);
    BOOST_TEST(EndedRun(scratch.path()).exit_code(killed(SIGKILL), false, false) == 71);
    BOOST_TEST(scratch.state() == "finished");
    BOOST_TEST(EndedRun(scratch.path()).exit_code(killed(SIGUSR1), true, false) == 75);
}

BOOST_AUTO_TEST_CASE(a_run_that_ended_without_a_word_is_not_running)
{
    const Scratch scratch;
    for (const int end : {killed(SIGKILL), exited(137), exited(1), exited(71)}) {
        EndedRun run(scratch.path());
        write_status(scratch.status(), "running", end, "", 0); // another text each time
        BOOST_TEST(run.exit_code(end, false, false) == 71);
        BOOST_TEST(scratch.state() == "failed");
    }
    EndedRun run(scratch.path());
    write_status(scratch.status(), "running", 1, "", 0);
    BOOST_TEST(run.exit_code(exited(143), true, true) == 71);
    BOOST_TEST(read_status(scratch.status())->reason.find("third SIGINT") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_not_there_is_not_made)
{
    const Scratch scratch;
    EndedRun run(scratch.path() / "none");
    BOOST_TEST(run.exit_code(killed(SIGKILL), false, false) == 71);
    BOOST_TEST(!std::filesystem::exists(scratch.path() / "none"));
}

BOOST_AUTO_TEST_SUITE_END()
