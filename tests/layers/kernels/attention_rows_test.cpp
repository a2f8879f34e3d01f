#include "layers/kernels/cpu/attention_rows.hpp"

#include "core/random.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace sluice::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t room = 80; ///< a multiple of num_wide_lanes

std::vector<float> random_row(const char* name, float factor)
{
    const RandomStream random(3, name);
    std::vector<float> row(room);
    for (std::size_t i = 0; i < row.size(); ++i)
        row[i] = factor * static_cast<float>(random.normal(i));
    return row;
}

using Halves = std::vector<BFloat16>;

bool same_bits(const Halves& a, const Halves& b, std::int64_t count)
{
    return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(count) * sizeof a[0]) == 0;
}

Halves poisoned() { return Halves(room, BFloat16{0x7fc0}); }

/// Both ways through one row; compares them with each other.
RowSum softmax(const ScoreRow& row, float old_maximum, Halves& weights)
{
    weights = poisoned();
    const RowSum sum = softmax_row(row, old_maximum, weights.data());
    if (has_wide_lanes()) {
        Halves wide = poisoned();
        const RowSum wide_sum = softmax_row_in_wide_lanes(row, old_maximum, wide.data());
        BOOST_TEST(same_bits(wide, weights, row.num_keys), row.visible << " of " << row.num_keys);
        BOOST_TEST(std::memcmp(&wide_sum, &sum, sizeof sum) == 0,
                   row.visible << " of " << row.num_keys);
    }
    return sum;
}

BOOST_AUTO_TEST_SUITE(attention_rows)

BOOST_AUTO_TEST_CASE(weights_are_those_of_a_softmax)
{
    const std::vector<float> scores = random_row("scores", 4.0F);
    for (std::int64_t visible = 1; visible <= 70; ++visible)
        for (const std::int64_t num_keys : {visible, visible + 1, std::int64_t{70}})
            for (const float old_maximum : {-infinity, 0.5F, 20.0F}) {
                Halves weights;
                const RowSum sum =
                    softmax({scores.data(), visible, num_keys, 0.125F}, old_maximum, weights);
                float maximum = old_maximum;
                for (std::int64_t key = 0; key < visible; ++key)
                    maximum = std::max(maximum, 0.125F * scores[static_cast<std::size_t>(key)]);
                BOOST_TEST(sum.maximum == maximum);
                double expected_sum = 0.0;
                for (std::int64_t key = 0; key < num_keys; ++key) {
                    const auto at = static_cast<std::size_t>(key);
                    const double expected =
                        key < visible ? std::exp(0.125 * scores[at] - maximum) : 0.0;
                    expected_sum += expected;
                    BOOST_TEST(std::abs(static_cast<double>(float_of(weights[at])) - expected) <=
                               0x1p-8 * expected);
                }
                BOOST_TEST(sum.weights == expected_sum, boost::test_tools::tolerance(1e-5));
            }
}

BOOST_AUTO_TEST_CASE(gradients_of_scores)
{
    const std::vector<float> scores = random_row("scores", 4.0F), dp = random_row("dp", 1.0F);
    const RowGradient gradient{dp.data(), 1.5F, 0.25F};
    for (std::int64_t visible = 1; visible <= 70; ++visible)
        for (const std::int64_t num_keys : {visible, visible + 1, std::int64_t{70}}) {
            const ScoreRow row{scores.data(), visible, num_keys, 0.125F};
            Halves p = poisoned(), ds = poisoned();
            score_gradient_row(row, gradient, p.data(), ds.data());
            for (std::int64_t key = 0; key < num_keys; ++key) {
                const auto at = static_cast<std::size_t>(key);
                const double weight = key < visible ? std::exp(0.125 * scores[at] - 1.5) : 0.0;
                const double expected = weight * (dp[at] - 0.25);
                BOOST_TEST(std::abs(static_cast<double>(float_of(p[at])) - weight) <=
                           0x1p-8 * weight);
                BOOST_TEST(std::abs(static_cast<double>(float_of(ds[at])) - expected) <=
                           0x1p-8 * std::abs(expected));
            }
            if (!has_wide_lanes())
                continue;
            Halves wide_p = poisoned(), wide_ds = poisoned();
            score_gradient_row_in_wide_lanes(row, gradient, wide_p.data(), wide_ds.data());
            BOOST_TEST(same_bits(wide_p, p, num_keys), visible << " of " << num_keys);
            BOOST_TEST(same_bits(wide_ds, ds, num_keys), visible << " of " << num_keys);
        }
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_shows)
{
    std::vector<float> scores = random_row("scores", 100.0F);
    scores[3] = 1000.0F; // weights far below it are 0, or no normal numbers
    Halves weights;
    softmax({scores.data(), 37, 40, 1.0F}, -infinity, weights);
    BOOST_TEST(float_of(weights[3]) == 1.0F);
    scores[5] = std::numeric_limits<float>::quiet_NaN();
    const RowSum sum = softmax({scores.data(), 37, 40, 1.0F}, -infinity, weights);
    BOOST_TEST(std::isnan(float_of(weights[5])));
    BOOST_TEST(std::isnan(sum.weights));
    // What lies behind a row is read for nothing.
    scores[37] = std::numeric_limits<float>::quiet_NaN();
    scores[5] = 0.0F;
    BOOST_TEST(std::isfinite(softmax({scores.data(), 37, 40, 1.0F}, -infinity, weights).weights));
    BOOST_TEST(float_of(weights[37]) == 0.0F);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice::kernels
