#include "pipeline/residual_warmup.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <vector>

using namespace sluice;
using enum WarmupSchedule;

namespace {

constexpr std::array all_schedules{
    off,     linear,      linear_sqrt, linear_square,    equal,
    reverse, stagewise_0, stagewise_L, stagewise_sqrt_L, stagewise_sqrt_l,
    fix_L,   fix_sqrt_L,  fix_sqrt_l};

struct Expected {
    WarmupSchedule schedule;
    std::int64_t l, t;
    double alpha;
};

} // namespace

BOOST_AUTO_TEST_SUITE(residual_warmup)

// T = 10, L = 4, worked out by hand from the table.
BOOST_AUTO_TEST_CASE(hand_computed_values)
{
    const std::vector<Expected> table{
        {off, 3, 0, 1.0},
        {linear, 1, 0, 0.0},
        {linear, 1, 5, 0.5},
        {linear, 2, 5, 0.25},
        {linear, 4, 10, 0.25},
        {linear, 4, 30, 0.75},
        {linear, 3, 30, 1.0},
        {linear_sqrt, 4, 10, 0.5},
        {linear_sqrt, 1, 9, 0.9486832980505138},
        {linear_square, 4, 10, 0.0625},
        {linear_square, 2, 15, 0.5625},
        {equal, 1, 5, 0.5},
        {equal, 4, 5, 0.5},
        {equal, 4, 10, 1.0},
        {reverse, 4, 5, 0.5},
        {reverse, 1, 10, 0.25},
        {reverse, 2, 15, 0.5},
        {stagewise_0, 1, 5, 0.5},
        {stagewise_0, 2, 10, 0.0},
        {stagewise_0, 2, 15, 0.5},
        {stagewise_0, 4, 35, 0.5},
        {stagewise_0, 4, 30, 0.0},
        {stagewise_L, 2, 0, 0.25},
        {stagewise_L, 2, 15, 0.625},
        {stagewise_sqrt_L, 3, 10, 0.5},
        {stagewise_sqrt_L, 3, 25, 0.75},
        {stagewise_sqrt_l, 1, 0, 1.0},
        {stagewise_sqrt_l, 4, 0, 0.5},
        {stagewise_sqrt_l, 4, 35, 0.75},
        {stagewise_sqrt_l, 3, 20, 0.5773502691896258},
        {stagewise_sqrt_l, 2, 15, 0.8535533905932737},
        {fix_L, 3, 7, 0.25},
        {fix_sqrt_L, 3, 7, 0.5},
        {fix_sqrt_l, 4, 7, 0.5},
        {fix_sqrt_l, 2, 1000, 0.7071067811865476},
    };
    for (const Expected& row : table) {
        BOOST_TEST_CONTEXT(name_of(row.schedule) << " l=" << row.l << " t=" << row.t)
        BOOST_TEST(std::abs(residual_alpha(row.schedule, 10, 4, row.l, row.t) - row.alpha) < 1e-15);
    }
}

BOOST_AUTO_TEST_CASE(starts_at_exactly_zero)
{
    for (const auto schedule : {linear, linear_sqrt, linear_square, equal, reverse, stagewise_0})
        for (std::int64_t L : {1, 2, 7, 120})
            for (std::int64_t l = 1; l <= L; ++l)
                BOOST_TEST(residual_alpha(schedule, 1000, L, l, 0) == 0.0);
}

// The last update before a gate is open must still be below 1, the next exactly 1, for ever.
BOOST_AUTO_TEST_CASE(is_exactly_one_when_warm)
{
    for (std::int64_t T : {1, 3, 1000})
        for (std::int64_t L : {1, 2, 7, 120})
            for (std::int64_t l = 1; l <= L; ++l) {
                const auto opens_at = [&](WarmupSchedule schedule, std::int64_t t, bool from_one) {
                    BOOST_TEST_CONTEXT(name_of(schedule) << " T=" << T << " L=" << L << " l=" << l)
                    {
                        BOOST_TEST(residual_alpha(schedule, T, L, l, t) == 1.0);
                        BOOST_TEST(residual_alpha(schedule, T, L, l, t + 12345) == 1.0);
                        BOOST_TEST((residual_alpha(schedule, T, L, l, t - 1) < 1.0) == !from_one);
                    }
                };
                opens_at(linear, T * l, false);
                opens_at(linear_sqrt, T * l, false);
                opens_at(linear_square, T * l, false);
                opens_at(equal, T, false);
                opens_at(reverse, T * (L - l + 1), false);
                opens_at(stagewise_0, T * l, false);
                opens_at(stagewise_L, T * l, L == 1);
                opens_at(stagewise_sqrt_L, T * l, L == 1);
                opens_at(stagewise_sqrt_l, T * l, l == 1);
            }
}

BOOST_AUTO_TEST_CASE(off_and_fixed_never_change)
{
    for (std::int64_t t : {0, 1, 999, 1000, 1000000}) {
        BOOST_TEST(residual_alpha(off, 1000, 12, 5, t) == 1.0);
        BOOST_TEST(residual_alpha(fix_L, 1000, 8, 5, t) == 0.125);
        BOOST_TEST(residual_alpha(fix_sqrt_L, 1000, 16, 5, t) == 0.25);
        BOOST_TEST(residual_alpha(fix_sqrt_l, 1000, 16, 4, t) == 0.5);
    }
}

BOOST_AUTO_TEST_CASE(single_layer_and_single_step)
{
    for (const auto schedule : {linear, linear_sqrt, linear_square, equal, reverse, stagewise_0}) {
        BOOST_TEST(residual_alpha(schedule, 1, 1, 1, 0) == 0.0);
        BOOST_TEST(residual_alpha(schedule, 1, 1, 1, 1) == 1.0);
    }
    for (const auto schedule :
         {stagewise_L, stagewise_sqrt_L, stagewise_sqrt_l, fix_L, fix_sqrt_L, fix_sqrt_l})
        for (std::int64_t t : {0, 1, 2})
            BOOST_TEST(residual_alpha(schedule, 1, 1, 1, t) == 1.0);
}

BOOST_AUTO_TEST_CASE(never_falls_and_stays_within_zero_and_one)
{
    for (const auto schedule : all_schedules)
        for (std::int64_t L : {1, 3, 7})
            for (std::int64_t l = 1; l <= L; ++l) {
                double before = 0.0;
                for (std::int64_t t = 0; t <= 11 * (L + 1); ++t) {
                    const double alpha = residual_alpha(schedule, 11, L, l, t);
                    BOOST_REQUIRE(alpha >= before && alpha <= 1.0);
                    before = alpha;
                }
            }
}

BOOST_AUTO_TEST_CASE(names_are_those_of_the_table)
{
    const std::vector<std::string_view> names{
        "off",     "linear",      "linear-sqrt", "linear-square",    "equal",
        "reverse", "stagewise-0", "stagewise-L", "stagewise-sqrt-L", "stagewise-sqrt-l",
        "fix-L",   "fix-sqrt-L",  "fix-sqrt-l"};
    BOOST_REQUIRE(warmup_schedule_names().size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        BOOST_TEST(warmup_schedule_names()[i] == names[i]);
        BOOST_TEST(name_of(all_schedules[i]) == names[i]);
    }
}

BOOST_AUTO_TEST_CASE(counters_advance_and_are_restored)
{
    ResidualWarmup gates(linear, 10, 4, 2, 2); // layers l = 3 and 4
    BOOST_TEST(gates.first_layer() == 2);
    BOOST_TEST(gates.alphas()[0] == 0.0);
    for (int update = 0; update < 15; ++update)
        gates.advance();
    BOOST_TEST(gates.alphas()[0] == 0.5);
    BOOST_TEST(gates.alphas()[1] == 0.375);
    BOOST_TEST(gates.counters()[0] == 15);

    ResidualWarmup resumed(linear, 10, 4, 2, 2, 15);
    BOOST_TEST(resumed.alphas()[0] == 0.5);
    BOOST_TEST(resumed.alphas()[1] == 0.375);

    ResidualWarmup other(linear, 10, 4, 2, 2);
    other.restore(gates.counters());
    other.advance();
    gates.advance();
    for (std::size_t i = 0; i < 2; ++i) {
        BOOST_TEST(other.counters()[i] == gates.counters()[i]);
        BOOST_TEST(other.alphas()[i] == gates.alphas()[i]);
    }
    BOOST_CHECK_THROW(other.restore(std::vector<std::int64_t>{1}), InvariantError);
}

BOOST_AUTO_TEST_CASE(a_drill_moves_one_layer_only)
{
    ResidualWarmup gates(linear, 10, 4, 0, 4, 5);
    gates.advance_layer_out_of_step(1);
    BOOST_TEST(gates.counters()[0] == 5);
    BOOST_TEST(gates.counters()[1] == 6);
    BOOST_TEST(gates.alphas()[1] == 0.3);
}

BOOST_AUTO_TEST_CASE(out_of_range_is_a_broken_promise)
{
    BOOST_CHECK_THROW(residual_alpha(linear, 0, 4, 1, 0), InvariantError);
    BOOST_CHECK_THROW(residual_alpha(linear, 10, 4, 5, 0), InvariantError);
    BOOST_CHECK_THROW(residual_alpha(linear, 10, 4, 0, 0), InvariantError);
    BOOST_CHECK_THROW(residual_alpha(linear, 10, 4, 1, -1), InvariantError);
    BOOST_CHECK_THROW(ResidualWarmup(linear, 10, 4, 3, 2), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
