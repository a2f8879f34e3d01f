#include "src/watch/start_deadline.hpp"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(start_deadline)

BOOST_AUTO_TEST_CASE(whoever_is_in_time_hears_nothing)
{
    std::atomic<bool> missed{false};
    {
        const StartDeadline deadline(60.0, [&] { missed = true; });
    }
    BOOST_TEST(!missed);
}

BOOST_AUTO_TEST_CASE(whoever_is_late_is_told_once)
{
    std::atomic<int> missed{0};
    const StartDeadline deadline(0.1, [&] { ++missed; });
    while (missed == 0)
        usleep(1000);
    usleep(400'000); // beyond the next look
    BOOST_TEST(missed == 1);
}

BOOST_AUTO_TEST_CASE(the_bound_follows_the_run_file)
{
    BOOST_TEST(start_seconds(0.0, 0.0) == 900.0);
    BOOST_TEST(start_seconds(0.0, 5.0) == 900.0);
    BOOST_TEST(start_seconds(0.0, 60.0) == 1200.0);
    BOOST_TEST(start_seconds(20.0, 60.0) == 20.0);
}

// This process is the parent that both children share, as mpirun is of ranks.
BOOST_AUTO_TEST_CASE(a_stopped_process_of_the_same_parent_is_found)
{
    const pid_t stopped = fork();
    if (stopped == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    BOOST_REQUIRE(waitpid(stopped, &status, WUNTRACED) == stopped);
    BOOST_REQUIRE(WIFSTOPPED(status));
    const auto siblings_seen_by_a_child = [&] {
        const pid_t sibling = fork();
        if (sibling == 0) {
            const auto found = stopped_siblings();
            _exit(found == std::vector<pid_t>{stopped} ? 0 : found.empty() ? 1 : 2);
        }
        waitpid(sibling, &status, 0);
        return WEXITSTATUS(status);
    };
    BOOST_TEST(siblings_seen_by_a_child() == 0);
    kill(stopped, SIGKILL);
    waitpid(stopped, &status, 0);
    BOOST_TEST(siblings_seen_by_a_child() == 1);
}

BOOST_AUTO_TEST_CASE(last_words_name_who_is_stopped)
{
    BOOST_TEST(missed_start_text(0, 900.0, {}) ==
               "rank 0 has waited for other ranks to start for 900 s\n"
               "  what to do: see whether every machine of the job answers, then run the same "
               "command again; where so many ranks need longer to start, raise run.start_seconds");
    BOOST_TEST(missed_start_text(1, 20.0, {7, 9})
                   .starts_with("rank 1 has waited for other ranks to start for 20 s; stopped on "
                                "this machine: process 7, "
                                "9\n"));
}

BOOST_AUTO_TEST_SUITE_END()
