#include "src/train/time_budget.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(time_budget)

BOOST_AUTO_TEST_CASE(without_an_end_it_is_never_spent)
{
    TimeBudget budget;
    budget.update_passed(0.0);
    budget.update_passed(1e9);
    BOOST_TEST(!budget.is_spent(1e12));
}

// Updates of 10 s and saves of 20 s with half as much again, and 5 s to leave: 50 s.
BOOST_AUTO_TEST_CASE(stops_while_an_update_and_a_save_still_fit)
{
    TimeBudget budget(1000.0, 20.0);
    double now = 0.0;
    int updates = 0;
    for (; !budget.is_spent(now); ++updates, now += 10.0)
        budget.update_passed(now);
    BOOST_TEST(now == 960.0);
    BOOST_TEST(now + 10.0 + 20.0 < 1000.0);
    BOOST_TEST(updates == 96);
}

// The last save waits for the one that is being written: 20 s more, with half as much again.
BOOST_AUTO_TEST_CASE(a_save_under_way_counts_beside_the_last_one)
{
    TimeBudget budget(1000.0, 20.0);
    budget.saving(true);
    BOOST_TEST(budget.needed() == 65.0);
    budget.saving(false);
    BOOST_TEST(budget.needed() == 35.0);
}

BOOST_AUTO_TEST_CASE(the_slowest_recent_update_counts)
{
    TimeBudget budget(10'000.0, 0.0);
    budget.update_passed(0.0);
    budget.update_passed(100.0); // the first
    BOOST_TEST(budget.needed() == 155.0);
    double now = 100.0;
    for (int i = 0; i < 31; ++i)
        budget.update_passed(now += 2.0);
    BOOST_TEST(budget.needed() == 155.0);
    budget.update_passed(now += 2.0);
    BOOST_TEST(budget.needed() == 8.0);
}

BOOST_AUTO_TEST_CASE(a_measured_save_replaces_the_guess)
{
    TimeBudget budget(100.0, 60.0);
    budget.update_passed(0.0);
    BOOST_TEST(budget.is_spent(10.0));
    budget.saved(2.0);
    BOOST_TEST(!budget.is_spent(10.0));
}

// What is broken off when the time is up needs no time of its own.
BOOST_AUTO_TEST_CASE(an_evaluation_is_no_part_of_an_update)
{
    TimeBudget budget(1000.0, 0.0);
    budget.update_passed(0.0);
    budget.leave_out(90.0);
    budget.update_passed(100.0);
    BOOST_TEST(budget.needed() == 20.0);
}

BOOST_AUTO_TEST_CASE(the_earlier_end_counts)
{
    const auto in = [](int seconds) {
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now).count() +
                              seconds);
    };
    // This process has begun a moment ago.
    const auto counts_from_the_start = [](double left, double limit) {
        return left < limit && left > limit - 300.0;
    };
    unsetenv("SLURM_JOB_END_TIME");
    BOOST_TEST(seconds_until_end(0) == TimeBudget::never);
    BOOST_TEST(counts_from_the_start(seconds_until_end(700), 700.0));
    setenv("SLURM_JOB_END_TIME", in(1000).c_str(), 1);
    BOOST_TEST(std::abs(seconds_until_end(0) - 1000.0) < 5.0);
    BOOST_TEST(counts_from_the_start(seconds_until_end(700), 700.0));
    BOOST_TEST(std::abs(seconds_until_end(5000) - 1000.0) < 5.0);
    setenv("SLURM_JOB_END_TIME", "soon", 1);
    BOOST_TEST(counts_from_the_start(seconds_until_end(700), 700.0));
    unsetenv("SLURM_JOB_END_TIME");
}

BOOST_AUTO_TEST_SUITE_END()
