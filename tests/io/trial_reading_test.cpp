#include "io/trial_reading.hpp"

#include "core/error.hpp"
#include "tests/io/text_fixture.hpp"

#include <csignal>
#include <cstdio>
#include <ctime>
#include <new>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace sluice;
using namespace sluice::testing;

namespace {

void refused(const std::function<void()>& read, const std::string& how)
{
    check_data_error([&] { read_on_trial("some.h5", "HDF5", read); }, {"some.h5", "HDF5", how});
}

} // namespace

BOOST_AUTO_TEST_SUITE(trial_reading)

BOOST_AUTO_TEST_CASE(what_ends_is_let_pass)
{
    bool ran_here = false;
    read_on_trial("some.h5", "HDF5", [&] { ran_here = true; });
    BOOST_TEST(!ran_here);
}

BOOST_AUTO_TEST_CASE(a_refusal_comes_through_whole)
{
    const std::string long_problem(200'000, 'x'); // more than a pipe holds
    for (const UserError& error : {data_error(long_problem, "there", "mend it"),
                                   usage_error("", "", ""), data_error("a\nb", "", "c")})
        try {
            read_on_trial("some.h5", "HDF5", [&] { throw error; });
            BOOST_ERROR("accepted");
        } catch (const UserError& found) {
            BOOST_TEST((found.code() == error.code()));
            BOOST_TEST(found.problem() == error.problem());
            BOOST_TEST(found.where() == error.where());
            BOOST_TEST(found.remedy() == error.remedy());
        }
}

BOOST_AUTO_TEST_CASE(what_takes_a_process_down_is_refused)
{
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL})
        refused([=] { std::raise(number); }, "crashed");
    refused([] { ::_exit(1); }, "ended the process");
    refused([] { throw std::bad_alloc(); }, "ended the process");
    refused([] { std::raise(SIGXCPU); }, "did not come to an end"); // as the time limit does
}

BOOST_AUTO_TEST_CASE(a_child_that_is_killed_from_outside_says_nothing_of_the_file)
{
    for (const int number : {SIGKILL, SIGTERM, SIGHUP})
        try {
            read_on_trial("some.h5", "HDF5", [=] {
                ::signal(number, SIG_DFL);
                std::raise(number);
            });
            BOOST_ERROR("accepted");
        } catch (const PeerError& error) {
            const std::string text = error.what();
            for (const char* part : {"some.h5", "killed from outside", "memory"})
                BOOST_TEST(text.find(part) != std::string::npos, text);
            BOOST_TEST(text.find("damaged") == std::string::npos, text);
        }
}

BOOST_AUTO_TEST_CASE(the_limit_of_time_is_told_from_a_kill)
{
    refused(
        [] {
            const struct rlimit short_time {
                1, 5
            };
            ::setrlimit(RLIMIT_CPU, &short_time);
            while (std::clock() >= 0)
                ;
        },
        "did not come to an end");
}

BOOST_AUTO_TEST_CASE(memory_is_bounded)
{
    refused(
        [] {
            int taken = 0; // pieces of 256 MiB, not touched
            while (taken < 100 && ::mmap(nullptr, std::size_t{1} << 28, PROT_NONE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
                ++taken;
            ::_exit(taken <= 16 ? 3 : 0);
        },
        "ended the process");
}

BOOST_AUTO_TEST_CASE(nothing_is_left_behind)
{
    const TextFolder folder;
    read_on_trial("some.h5", "HDF5", [] {
        std::puts("a library that says what it thinks");
        std::fflush(stdout);
    });
    BOOST_TEST(::waitpid(-1, nullptr, WNOHANG) == -1); // no child
    BOOST_TEST(errno == ECHILD);
}

BOOST_AUTO_TEST_SUITE_END()
