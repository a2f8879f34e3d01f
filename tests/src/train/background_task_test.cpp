#include "src/train/background_task.hpp"

#include "core/error.hpp"
#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <future>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(background_task)

BOOST_AUTO_TEST_CASE(runs_beside_the_caller_and_behind_it)
{
    BackgroundTask task;
    BOOST_TEST(!task.running());
    BOOST_CHECK_NO_THROW(task.wait()); // nothing was started
    std::promise<void> go;
    int priority = 0;
    const int own = getpriority(PRIO_PROCESS, 0);
    bool takes_signals = true;
    task.start([&] {
        go.get_future().wait();
        priority = getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()));
        sigset_t blocked;
        pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
        takes_signals = sigismember(&blocked, SIGTERM) == 0;
    });
    BOOST_TEST(task.running());
    go.set_value();
    task.wait();
    BOOST_TEST(!task.running());
    BOOST_TEST(priority == std::min(own + 10, 19));
    BOOST_TEST(!takes_signals);
    BOOST_TEST(task.seconds() >= 0.0);
    BOOST_TEST(getpriority(PRIO_PROCESS, 0) == own);
    sigset_t mine;
    pthread_sigmask(SIG_BLOCK, nullptr, &mine);
    BOOST_TEST(sigismember(&mine, SIGTERM) == 0);
}

BOOST_AUTO_TEST_CASE(it_takes_no_other_threads)
{
    std::atomic<int> others{0};
    BackgroundTask task;
    task.start([&] {
        const auto own = std::this_thread::get_id();
        parallel_for(64, [&](std::int64_t) { others += std::this_thread::get_id() != own; });
    });
    task.wait();
    BOOST_TEST(others == 0);
}

BOOST_AUTO_TEST_CASE(what_it_throws_is_thrown_to_who_waits_once)
{
    BackgroundTask task;
    task.start([] { throw data_error("No space left on device", "f.h5"); });
    BOOST_CHECK_EXCEPTION(task.wait(), UserError, [](const UserError& error) {
        return error.code() == ExitCode::data && error.where() == "f.h5";
    });
    BOOST_CHECK_NO_THROW(task.wait());
    int runs = 0;
    task.start([&] { ++runs; });
    task.wait();
    task.start([&] { ++runs; });
    task.wait();
    BOOST_TEST(runs == 2);
}

BOOST_AUTO_TEST_CASE(whoever_leaves_waits_for_it)
{
    bool done = false;
    {
        BackgroundTask task;
        task.start([&] {
            usleep(20'000);
            done = true;
        });
    }
    BOOST_TEST(done);
}

BOOST_AUTO_TEST_SUITE_END()
