#include "src/watch/straggler_detector.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>
#include <random>
#include <vector>

using namespace sluice;

namespace {

struct Said {
    int update = 0;
    StragglerNotice notice;
};

/// Seconds that `rank` computes in `update` (from 0).
using Series = std::function<double(int update, int rank)>;

/// What a detector says over a run with 3% of noise on every time.
std::vector<Said> run(int num_ranks, int updates, const Series& seconds, int forget_at = -1,
                      const std::vector<std::size_t>& work = {})
{
    StragglerDetector detector(num_ranks);
    std::mt19937 random(1);
    std::normal_distribution<double> noise(1.0, 0.03);
    std::vector<Said> said;
    std::vector<double> times(static_cast<std::size_t>(num_ranks));
    for (int update = 0; update < updates; ++update) {
        if (update == forget_at)
            detector.forget_histories(work);
        for (int rank = 0; rank < num_ranks; ++rank)
            times[static_cast<std::size_t>(rank)] = seconds(update, rank) * noise(random);
        for (const StragglerNotice& notice : detector.observe(times))
            said.push_back({update, notice});
    }
    return said;
}

double steady(int, int) { return 0.2; }

/// Rank 2 is `factor` times slower from update `begin` to before `end`.
Series slow_rank(double factor, int begin, int end)
{
    return [=](int update, int rank) {
        return rank == 2 && update >= begin && update < end ? 0.2 * factor : 0.2;
    };
}

} // namespace

BOOST_AUTO_TEST_SUITE(straggler_detector)

BOOST_AUTO_TEST_CASE(names_nobody_in_a_steady_run)
{
    for (const int num_ranks : {1, 2, 3, 8})
        BOOST_TEST(run(num_ranks, 2000, steady).empty());
}

BOOST_AUTO_TEST_CASE(names_one_slow_rank_once_and_says_when_it_has_recovered)
{
    for (const int num_ranks : {3, 4, 9}) {
        const auto said = run(num_ranks, 1000, slow_rank(1.5, 200, 600));
        BOOST_TEST_REQUIRE(said.size() == 2u);
        BOOST_TEST(said[0].notice.rank == 2);
        BOOST_TEST(!said[0].notice.recovered);
        BOOST_TEST(said[0].update >= 215);
        BOOST_TEST(said[0].update < 230);
        BOOST_TEST(said[0].notice.slowdown == 1.5, boost::test_tools::tolerance(0.05));
        BOOST_TEST(said[0].notice.seconds == 0.3, boost::test_tools::tolerance(0.05));
        BOOST_TEST(said[0].notice.usual_seconds == 0.2, boost::test_tools::tolerance(0.05));
        BOOST_TEST(said[1].notice.rank == 2);
        BOOST_TEST(said[1].notice.recovered);
        BOOST_TEST(said[1].update >= 615);
        BOOST_TEST(said[1].update < 630);
    }
}

BOOST_AUTO_TEST_CASE(tells_apart_the_two_ranks_of_a_pair)
{
    const auto said =
        run(2, 400, [](int update, int rank) { return rank == 1 && update >= 200 ? 0.4 : 0.2; });
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].notice.rank == 1);
}

BOOST_AUTO_TEST_CASE(names_a_second_episode_of_the_same_rank)
{
    const auto said = run(4, 900, [](int update, int rank) {
        const bool slow = (update >= 200 && update < 300) || (update >= 600 && update < 700);
        return rank == 2 && slow ? 0.4 : 0.2;
    });
    BOOST_TEST_REQUIRE(said.size() == 4u);
    BOOST_TEST(said[2].update >= 600);
    BOOST_TEST(!said[2].notice.recovered);
}

BOOST_AUTO_TEST_CASE(a_named_rank_stays_named_however_long_it_is_slow)
{
    BOOST_TEST(run(4, 5000, slow_rank(1.5, 200, 5000)).size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_slows_all_alike_names_nobody)
{
    BOOST_TEST(run(4, 800, [](int update, int) { return update >= 300 ? 0.5 : 0.2; }).empty());
}

BOOST_AUTO_TEST_CASE(a_rank_that_keeps_its_time_while_others_gain_is_no_straggler)
{
    BOOST_TEST(run(4, 800, [](int update, int rank) {
                   return update >= 300 && rank != 2 ? 0.1 : 0.2;
               }).empty());
}

BOOST_AUTO_TEST_CASE(short_hiccups_name_nobody)
{
    BOOST_TEST(run(4, 800, slow_rank(20.0, 300, 303)).empty());
    BOOST_TEST(run(4, 800, slow_rank(3.0, 300, 314)).empty());
    // One update in three is ten times slower, for ever: the usual one is not.
    BOOST_TEST(run(4, 800, [](int update, int rank) {
                   return rank == 2 && update > 200 && update % 3 == 0 ? 2.0 : 0.2;
               }).empty());
}

BOOST_AUTO_TEST_CASE(unequal_stages_are_no_stragglers)
{
    BOOST_TEST(run(4, 800, [](int, int rank) { return 0.1 * (1 + 3 * rank); }).empty());
    const auto said = run(4, 800, [](int update, int rank) {
        return 0.1 * (1 + 3 * rank) * (rank == 0 && update >= 400 ? 2.0 : 1.0);
    });
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].notice.rank == 0);
}

BOOST_AUTO_TEST_CASE(a_slow_drift_of_all_names_nobody)
{
    BOOST_TEST(run(4, 3000, [](int update, int) { return 0.2 * (1.0 + update / 1000.0); }).empty());
}

BOOST_AUTO_TEST_CASE(the_start_does_not_count)
{
    // All ranks begin ten times slower; who becomes slow soon after is measured by the rest.
    const auto said = run(4, 200, [](int update, int rank) {
        return update < 10 ? 2.0 : rank == 2 && update >= 40 ? 0.3 : 0.2;
    });
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].notice.rank == 2);
    BOOST_TEST(said[0].notice.usual_seconds == 0.2, boost::test_tools::tolerance(0.05));
    // Other ranks begin ten times slower, and this one does not.
    BOOST_TEST(run(4, 800, [](int update, int rank) {
                   return update < 8 && rank != 2 ? 2.0 : 0.2;
               }).empty());
    // Slow before there is a history to compare with, and nothing known of the others' work.
    BOOST_TEST(run(4, 800, slow_rank(1.5, 0, 800)).empty());
}

BOOST_AUTO_TEST_CASE(who_is_slow_from_the_start_is_named_by_ranks_that_do_the_same)
{
    const std::vector<std::size_t> alike{0, 1, 1, 1, 1, 2};
    const auto said = run(6, 800, slow_rank(1.5, 0, 400), 0, alike);
    BOOST_TEST_REQUIRE(said.size() == 2u);
    BOOST_TEST(said[0].notice.rank == 2);
    BOOST_TEST(said[0].notice.from_start);
    BOOST_TEST(!said[0].notice.recovered);
    BOOST_TEST(said[0].update < 45);
    BOOST_TEST(said[0].notice.slowdown == 1.5, boost::test_tools::tolerance(0.05));
    BOOST_TEST(said[0].notice.seconds == 0.3, boost::test_tools::tolerance(0.05));
    BOOST_TEST(said[0].notice.usual_seconds == 0.2, boost::test_tools::tolerance(0.05));
    BOOST_TEST(said[1].notice.rank == 2);
    BOOST_TEST(said[1].notice.recovered);
    BOOST_TEST(!said[1].notice.from_start);
    BOOST_TEST(said[1].update >= 415);
    BOOST_TEST(said[1].update < 430);
    BOOST_TEST(run(6, 4000, slow_rank(1.5, 0, 4000), 0, alike).size() == 1u);
}

BOOST_AUTO_TEST_CASE(other_work_and_too_few_alike_name_nobody_at_the_start)
{
    const auto slow = slow_rank(1.5, 0, 800);
    BOOST_TEST(run(6, 800, slow, 0, {0, 1, 2, 1, 1, 1}).empty()); // its work is its own
    BOOST_TEST(run(6, 800, slow, 0, {0, 1, 1, 2, 2, 2}).empty()); // a pair has no majority
    BOOST_TEST(run(6, 800, steady, 0, {1, 1, 1, 1, 1, 1}).empty());
    BOOST_TEST(run(6, 800, slow_rank(1.15, 0, 800), 0, {1, 1, 1, 1, 1, 1}).empty());
    // Half of those alike are slow: with 2 of 3, the third is the exception, and not slow.
    BOOST_TEST(
        run(3, 800, [](int, int rank) { return rank == 0 ? 0.2 : 0.4; }, 0, {1, 1, 1}).empty());
}

BOOST_AUTO_TEST_CASE(a_gate_that_opens_compares_anew)
{
    // Named from the start, it stays so, once.
    const std::vector<std::size_t> alike{1, 1, 1, 1};
    StragglerDetector detector(4);
    std::vector<StragglerNotice> said;
    for (int update = 0; update < 600; ++update) {
        if (update % 200 == 0)
            detector.forget_histories(alike);
        for (const StragglerNotice& notice :
             detector.observe(std::vector<double>{0.2, 0.2, 0.3, 0.2}))
            said.push_back(notice);
    }
    BOOST_TEST_REQUIRE(said.size() == 1u);
    BOOST_TEST(said[0].from_start);
}

BOOST_AUTO_TEST_CASE(another_division_of_work_is_learned_anew)
{
    const auto more_work = [](int update, int rank) {
        return rank == 2 && update >= 400 ? 0.4 : 0.2;
    };
    BOOST_TEST(run(4, 800, more_work).size() == 1u);
    BOOST_TEST(run(4, 800, more_work, 400).empty());
}

BOOST_AUTO_TEST_CASE(a_slow_rank_stays_named_while_histories_are_learned_anew)
{
    const auto said = run(4, 1000, slow_rank(1.6, 200, 700), 400);
    BOOST_TEST_REQUIRE(said.size() == 2u);
    BOOST_TEST(said[0].update < 230);
    BOOST_TEST(said[1].update >= 715);
    BOOST_TEST(said[1].notice.recovered);
}

BOOST_AUTO_TEST_SUITE_END()
