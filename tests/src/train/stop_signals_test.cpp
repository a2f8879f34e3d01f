#include "src/train/stop_signals.hpp"

#include "core/parallel.hpp"
#include "layers/kernels/matmul.hpp"

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <functional>
#include <random>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace sluice;

namespace {

/// In a process of its own, as what a process does about signals lasts: its exit status, or minus
/// the signal that killed it.
int outcome_of(const std::function<int()>& work)
{
    const pid_t child = fork();
    if (child == 0)
        _exit(work());
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// A hail of SIGUSR1 on the whole process.
void send_every(long nanoseconds)
{
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    timer_t timer{};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    itimerspec interval{{0, nanoseconds}, {0, nanoseconds}};
    timer_settime(timer, 0, &interval, nullptr);
}

/// Products of many shapes: the bits of all results, one after the other.
std::vector<float> products()
{
    std::mt19937 random(1);
    std::uniform_real_distribution<float> number(-1.0F, 1.0F);
    std::vector<float> all;
    for (const std::int64_t m : {6, 32, 48, 96, 257})
        for (const std::int64_t n : {32, 48, 257})
            for (const std::int64_t k : {6, 64, 257}) {
                std::vector<float> a(static_cast<std::size_t>(m * k)),
                    b(static_cast<std::size_t>(n * k)), out(static_cast<std::size_t>(m * n));
                for (auto* values : {&a, &b})
                    for (float& value : *values)
                        value = number(random);
                kernels::launch(Stream{}, kernels::Matmul{.a = {a.data(), DType::f32, {m, k}},
                                                          .b = {b.data(), DType::f32, {n, k}},
                                                          .out = {out.data(), DType::f32, {m, n}},
                                                          .transpose_b = kernels::Transpose::yes});
                all.insert(all.end(), out.begin(), out.end());
            }
    return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(stop_signals)

BOOST_AUTO_TEST_CASE(products_keep_their_bits_in_a_hail_of_signals)
{
    const int outcome = outcome_of([] {
        watch_stop_signals();
        set_num_threads(1);
        const std::vector<float> expected = products();
        send_every(20'000);
        for (int round = 0; round < 60; ++round) {
            const std::vector<float> found = products();
            if (std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) != 0)
                return 2;
        }
        return received_stop_signal() == SIGUSR1 ? 0 : 3;
    });
    BOOST_TEST(outcome == 0);
}

BOOST_AUTO_TEST_CASE(each_signal_is_noticed_also_where_it_was_ignored)
{
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) {
        const int outcome = outcome_of([signal] {
            std::signal(signal, SIG_IGN);
            watch_stop_signals();
            kill(getpid(), signal);
            for (int i = 0; i < 10'000 && received_stop_signal() == 0; ++i)
                usleep(1000);
            return received_stop_signal();
        });
        BOOST_TEST(outcome == signal);
    }
}

BOOST_AUTO_TEST_CASE(hangup_is_noticed_but_where_it_was_ignored)
{
    for (const bool ignored : {false, true}) {
        const int outcome = outcome_of([ignored] {
            std::signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
            watch_stop_signals();
            kill(getpid(), SIGHUP);
            for (int i = 0; i < (ignored ? 200 : 10'000) && received_stop_signal() == 0; ++i)
                usleep(1000);
            return received_stop_signal();
        });
        BOOST_TEST(outcome == (ignored ? 0 : SIGHUP));
    }
}

BOOST_AUTO_TEST_CASE(output_that_nobody_reads_ends_nothing)
{
    const int outcome = outcome_of([] {
        watch_stop_signals();
        int ends[2];
        if (pipe(ends) != 0)
            return 1;
        close(ends[0]);
        return write(ends[1], "x", 1) == -1 && errno == EPIPE ? 0 : 2;
    });
    BOOST_TEST(outcome == 0);
}

BOOST_AUTO_TEST_CASE(only_a_third_interrupt_ends_the_process_at_once)
{
    for (const int num_interrupts : {2, 3}) {
        const int outcome = outcome_of([num_interrupts] {
            watch_stop_signals({.speaks = false, .before_giving_up = [] { _exit(5); }});
            for (int i = 0; i < num_interrupts; ++i) {
                for (int copy = 0; copy < 3; ++copy) { // as launchers do
                    kill(getpid(), SIGINT);
                    usleep(10'000);
                }
                usleep(1'200'000);
            }
            return 0;
        });
        BOOST_TEST(outcome == (num_interrupts == 3 ? 5 : 0));
    }
}

BOOST_AUTO_TEST_SUITE_END()
